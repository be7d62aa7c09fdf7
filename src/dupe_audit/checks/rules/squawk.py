"""Squawk: what a linter of SQL says to the offline script of each revision, without the advice that is wrong here."""

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
from dupe_audit.checks.report import Found
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import finding

PATIENCE = 60  # seconds for one revision, which takes some hundredths of one

#: PostgreSQL has NOT VALID for foreign keys and checks only
_NO_NOT_VALID = re.compile(
    r"(?:add\s+)?(?:constraint\s+(?:\"(?:[^\"]|\"\")*\"|\w+)\s+)?(?:unique|primary\s+key|exclude)\b", re.IGNORECASE
)
#: never passed on: Alembic stamps last, so all of a revision is "committed before"; and IF NOT EXISTS, which the rule
#: asks for, takes over the invalid index of a killed build. A syntax error is squawk's own: PostgreSQL ran it.
_DROPPED = {"prefer-robust-stmts", "syntax-error"}
#: told only once a script, so what is wrong with the first statement hides the next
_TOLD_ONCE = {"require-lock-timeout", "require-statement-timeout"}
_VARIABLE = re.compile(rb":dupe_audit_\w+")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NEW_TABLE = re.compile(r"\bcreate\s+table\s+(?:if\s+not\s+exists\s+)?([^\s(]+)", re.IGNORECASE)
_TOUCHED = re.compile(
    r"(?:create\s+(?:unique\s+)?index\b.*?\bon|(?:create|alter)\s+table)\s+(?:if\s+(?:not\s+)?exists\s+)?(?:only\s+)?([^\s(]+)",
    re.IGNORECASE | re.DOTALL,
)
_REFERENCED = re.compile(r"\breferences\s+([^\s(,]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """One finding of squawk's."""

    rule: str
    message: str
    help: str | None
    begin: int  #: in the script, in bytes
    end: int


def program() -> str | None:
    """Return the path of squawk: beside this Python, where its wheel puts it, else on PATH."""
    return shutil.which("squawk", path=str(Path(sys.executable).parent)) or shutil.which("squawk")


def missing() -> str | None:
    """Tell why the rule cannot run, None where it can."""
    return None if program() else "squawk is not installed: pip install 'dupe-audit[lint]'"


def check(evidence: Evidence) -> Iterator[Found]:
    """Lint the offline script of each revision by itself; its place is where upgrade() begins.

    Raises:
        DupeAuditError: squawk is not there, or could not do it.
    """
    for revision in evidence.revisions:
        # psql's variables are no SQL; a number of the same length keeps every place
        script = _VARIABLE.sub(lambda found: b"0".ljust(len(found[0])), evidence.offline.get(revision.id, "").encode())
        if not script.strip():
            continue
        for subject, help_ in dict.fromkeys(_subjects(script, evidence.version_table)):
            found = finding("squawk", f"{revision.id}, {subject}")
            helped = found if help_ is None else replace(found, help=f"{help_.rstrip('.')}. {found.help}")
            yield Found(rule="squawk", finding=helped, place=revision.place())


def _subjects(script: bytes, version_table: str) -> Iterator[tuple[str, str | None]]:
    """Yield what is said in our words, and the help; it is the same for each column of a statement."""
    for said in _passed_on(script, version_table):
        yield f"{_first_words(script, said)}: {said.message.rstrip('.')} ({said.rule})", said.help


def _passed_on(script: bytes, version_table: str) -> Iterator[_Said]:
    said = _lint(script)
    yield from _timeouts(script, said)
    for one in said:
        if one.rule not in _TOLD_ONCE and not _is_wrong(script, one, version_table):
            yield one


def _timeouts(script: bytes, said: list[_Said]) -> Iterator[_Said]:
    """Yield what is told once, for the first statement that could wait for somebody.

    Nobody else sees a table before its transaction ends, so nobody holds it up. A statement on such a table is taken
    out of the script, to see what it hid.
    """
    new = {name.strip('"') for name in _NEW_TABLE.findall(script.decode())}
    rules = set(_TOLD_ONCE)
    while here := [one for one in said if one.rule in rules]:
        alone = [one for one in here if _on_new(script, one, new)]
        for one in here:
            if one not in alone:
                rules.remove(one.rule)
                yield one
        for one in alone:
            script = script[: one.begin] + re.sub(rb"[^\n]", b" ", script[one.begin : one.end]) + script[one.end :]
        said = _lint(script) if rules else []


def _on_new(script: bytes, said: _Said, new: set[str]) -> bool:
    """Tell whether a statement touches no table but those that the revision makes."""
    statement = script[said.begin : said.end].decode().strip()
    found = _TOUCHED.match(statement)
    touched = [*([found[1]] if found else []), *_REFERENCED.findall(statement)]
    return found is not None and {name.strip('"') for name in touched} <= new


def _is_wrong(script: bytes, said: _Said, version_table: str) -> bool:
    """Tell what is not passed on: advice that PostgreSQL has no way to follow, or about a statement of Alembic's."""
    if said.rule in _DROPPED:
        return True
    if said.rule == "constraint-missing-not-valid":
        return _NO_NOT_VALID.match(script[said.begin : said.end].decode().strip()) is not None
    return re.match(rf'CREATE TABLE (\S+\.)?"?{re.escape(version_table)}"? \(', _statement(script, said)) is not None


def _lint(script: bytes) -> list[_Said]:
    path = program()
    if path is None:
        raise DupeAuditError(f"{missing()}")
    try:
        done = subprocess.run(
            [path, "--reporter", "json"], input=script, capture_output=True, timeout=PATIENCE, check=False
        )
        lines = [0, *(found.end() for found in re.finditer(rb"\n", script))]
        return [
            _Said(
                rule=one["rule_name"],
                message=one["message"],
                help=one["help"],
                begin=lines[one["line"]] + one["column"],  # both count from 0, in bytes
                end=lines[one["line_end"]] + one["column_end"],
            )
            for one in json.loads(done.stdout)
        ]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DupeAuditError(f"squawk could not be run: {error}. Install it again, or leave it out.") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        why = (done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"])[0]
        raise DupeAuditError(f"squawk could not do it: {why}. See .squawk.toml, if there is one.") from error


def _statement(script: bytes, said: _Said) -> str:
    """Return the statement that a finding is about, on one line and without comments."""
    begin = script.rfind(b";", 0, said.begin) + 1
    end = script.find(b";", said.begin)
    return " ".join(_COMMENT.sub(" ", script[begin : end if end >= 0 else len(script)].decode()).split())


def _first_words(script: bytes, said: _Said) -> str:
    statement = _statement(script, said)
    return statement if len(statement) <= 60 else f"{statement[:60].rsplit(' ', 1)[0]} …"
