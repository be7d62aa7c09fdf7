"""Squawk: what a linter of SQL reports about each revision's offline script, without advice that is wrong here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dupe_audit.checks.evidence import Evidence
from dupe_audit.checks.report import ReportedFinding
from dupe_audit.checks.tracing.table_work import without_comments
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import finding

RULE = "squawk"

#: seconds allowed for one revision, which normally takes a few hundredths of a second
TIMEOUT = 60

#: a constraint for which PostgreSQL has no NOT VALID; it has it only for foreign keys and checks
_NO_NOT_VALID = re.compile(
    r"(?:add\s+)?(?:constraint\s+(?:\"(?:[^\"]|\"\")*\"|\w+)\s+)?(?:unique|primary\s+key|exclude)\b", re.IGNORECASE
)
#: Never reported. prefer-robust-stmts: Alembic stamps the version last, so every statement of a revision is "committed
#: before", and IF NOT EXISTS, which the rule asks for, accepts the invalid index of a killed build. syntax-error:
#: PostgreSQL executed the statement, so it is squawk that does not know the syntax.
_DROPPED = {"prefer-robust-stmts", "syntax-error"}
#: squawk reports these only once per script, so a problem in the first statement hides those of later ones
_ONCE_PER_SCRIPT = {"require-lock-timeout", "require-statement-timeout"}
_VARIABLE = re.compile(rb":dupe_audit_\w+")
_NEW_TABLE = re.compile(r"\bcreate\s+table\s+(?:if\s+not\s+exists\s+)?([^\s(]+)", re.IGNORECASE)
_TOUCHED = re.compile(
    r"(?:create\s+(?:unique\s+)?index\b.*?\bon|(?:create|alter)\s+table)\s+(?:if\s+(?:not\s+)?exists\s+)?(?:only\s+)?([^\s(]+)",
    re.IGNORECASE | re.DOTALL,
)
_REFERENCED = re.compile(r"\breferences\s+([^\s(,]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """One problem that squawk reports."""

    rule: str
    message: str
    help: str | None
    begin: int  #: byte offset in the script
    end: int


def program() -> str | None:
    """Return the path of squawk: next to this Python, where its wheel installs it, else on PATH; None without it."""
    return shutil.which("squawk", path=str(Path(sys.executable).parent)) or shutil.which("squawk")


def missing() -> str | None:
    """Return why the rule cannot run, or None if it can."""
    return None if program() else "squawk is not installed: pip install 'dupe-audit[lint]'"


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Lint each revision's offline script by itself; the place of a finding is the line where upgrade() begins.

    Raises:
        DupeAuditError: squawk is not installed, or it failed.
    """
    scripts = evidence.offline_sql or {}
    for revision in evidence.revisions:
        # psql's variables are not SQL. A number of the same length keeps every offset.
        script = _VARIABLE.sub(lambda match: b"0".ljust(len(match[0])), scripts.get(revision.id, "").encode())
        if not script.strip():
            continue
        for subject, advice in dict.fromkeys(_subjects(script, evidence.version_table)):
            details = finding("squawk", f"{revision.id}, {subject}")
            if advice is not None:
                details = replace(details, help=f"{advice.rstrip('.')}. {details.help}")
            yield ReportedFinding(rule=RULE, finding=details, place=revision.place())


def _subjects(script: bytes, version_table: str) -> Iterator[tuple[str, str | None]]:
    """Yield the text of each problem and squawk's advice; for the columns of one statement, both can repeat."""
    for problem in _relevant(script, version_table):
        yield f"{_first_words(script, problem)}: {problem.message.rstrip('.')} ({problem.rule})", problem.help


def _relevant(script: bytes, version_table: str) -> Iterator[_Problem]:
    problems = _lint(script)
    yield from _timeouts(script, problems)
    for problem in problems:
        if problem.rule not in _ONCE_PER_SCRIPT and not _is_wrong(script, problem, version_table):
            yield problem


def _timeouts(script: bytes, problems: list[_Problem]) -> Iterator[_Problem]:
    """Yield the problems that squawk reports once per script, for the first statement that could wait for a lock.

    No other session sees a new table before the end of its transaction, so none can block a statement on it. Such a
    statement is blanked out and the script linted again, to find the problem that it hid.
    """
    new = {name.strip('"') for name in _NEW_TABLE.findall(script.decode())}
    rules = set(_ONCE_PER_SCRIPT)
    while timeouts := [problem for problem in problems if problem.rule in rules]:
        harmless = [problem for problem in timeouts if _on_new(script, problem, new)]
        for problem in timeouts:
            if problem not in harmless:
                rules.remove(problem.rule)
                yield problem
        for problem in harmless:
            blank = re.sub(rb"[^\n]", b" ", script[problem.begin : problem.end])
            script = script[: problem.begin] + blank + script[problem.end :]
        problems = _lint(script) if rules else []


def _on_new(script: bytes, problem: _Problem, new: set[str]) -> bool:
    """Return whether a statement touches only tables that the revision creates."""
    statement = script[problem.begin : problem.end].decode().strip()
    match = _TOUCHED.match(statement)
    touched = [*([match[1]] if match else []), *_REFERENCED.findall(statement)]
    return match is not None and {name.strip('"') for name in touched} <= new


def _is_wrong(script: bytes, problem: _Problem, version_table: str) -> bool:
    """Return whether a problem is advice that PostgreSQL cannot follow, or about a statement of Alembic's own."""
    if problem.rule in _DROPPED:
        return True
    if problem.rule == "constraint-missing-not-valid":
        return _NO_NOT_VALID.match(script[problem.begin : problem.end].decode().strip()) is not None
    creates_version_table = rf'CREATE TABLE (\S+\.)?"?{re.escape(version_table)}"? \('
    return re.match(creates_version_table, _statement(script, problem)) is not None


def _lint(script: bytes) -> list[_Problem]:
    path = program()
    if path is None:
        raise DupeAuditError(f"{missing()}")
    try:
        done = subprocess.run(
            [path, "--reporter", "json"], input=script, capture_output=True, timeout=TIMEOUT, check=False
        )
        lines = [0, *(newline.end() for newline in re.finditer(rb"\n", script))]
        return [
            _Problem(
                rule=entry["rule_name"],
                message=entry["message"],
                help=entry["help"],
                begin=lines[entry["line"]] + entry["column"],  # both count from 0, in bytes
                end=lines[entry["line_end"]] + entry["column_end"],
            )
            for entry in json.loads(done.stdout)
        ]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DupeAuditError(f"squawk could not be started: {error}. Reinstall it, or leave out --squawk.") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        stderr = done.stderr.decode(errors="replace").strip().splitlines()
        why = stderr[0] if stderr else f"it ended with exit code {done.returncode}"
        raise DupeAuditError(f"squawk failed: {why}. Check .squawk.toml, if it exists.") from error


def _statement(script: bytes, problem: _Problem) -> str:
    """Return the statement of a problem, on one line and without comments."""
    begin = script.rfind(b";", 0, problem.begin) + 1
    end = script.find(b";", problem.begin)
    return " ".join(without_comments(script[begin : end if end >= 0 else len(script)].decode()).split())


def _first_words(script: bytes, problem: _Problem) -> str:
    statement = _statement(script, problem)
    return statement if len(statement) <= 60 else f"{statement[:60].rsplit(' ', 1)[0]} …"
