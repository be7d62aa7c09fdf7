"""Messages about failures of a project's own files, ``env.py`` and its revisions: which file and line, and the fix."""

from __future__ import annotations

import ast
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.sqlstates import GRANT, INSUFFICIENT_PRIVILEGE, reason, sqlstate
from dupe_audit.postgres.urls import without_secrets

IMPORT = "import dupe_audit.ops  # noqa: F401"

NO_EXIT = "Remove the call that ends the program: alembic itself would stop there with that exit code and do nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifiers:
    """What a revision's file assigns, read without executing it."""

    file: Path
    revision: str | None
    line: int  #: of down_revision
    parents: frozenset[str]  #: its down_revision and depends_on


def missing_import(error: BaseException) -> bool:
    """Return whether a file failed because nothing has imported the directives."""
    text = str(error)
    unregistered = "alembic.op" in text and "no attribute" in text
    return unregistered or "no dispatch function for object: <dupe_audit." in text


def env_error(error: BaseException, directory: Path, urls: Sequence[str | None] = ()) -> DupeAuditError:
    """Return the message about a failure of ``env.py``, or of what it imports.

    Args:
        error: that ended it.
        directory: of the project's scripts.
        urls: whose passwords must not be printed.
    """
    if isinstance(error, DupeAuditError):
        return error
    remedy = "Fix env.py until `alembic current` succeeds."
    text = str(error)
    if _ends_quietly(error):
        remedy = NO_EXIT
    elif sqlstate(error) == INSUFFICIENT_PRIVILEGE:
        remedy = f"{GRANT} To read a table: GRANT SELECT ON the table TO the role."
    elif missing_import(error):
        remedy = f"The directives are not registered: write `{IMPORT}` at the top of {directory / 'env.py'}."
    elif "Can't load plugin: sqlalchemy.dialects:driver" in text:
        remedy = (
            "Its URL is still the placeholder that `alembic init` writes; set sqlalchemy.url, or let env.py set it."
        )
    return DupeAuditError(f"env.py failed: {_reason(error, urls)}{location_suffix(error, directory)}. {remedy}")


def revisions_error(error: BaseException, script: ScriptDirectory) -> DupeAuditError:
    """Return the message about a failure to load the revisions."""
    if isinstance(error, DupeAuditError):
        return error
    identifiers = list(_identifiers(script))
    if problem := _missing_parent(identifiers) or _cycle(error, identifiers):
        return DupeAuditError(f"{problem} Fix it until `alembic history` succeeds.")
    if isinstance(error, CommandError | RevisionError):
        return DupeAuditError(f"Alembic cannot read the project: {str(error).rstrip('.')}.")
    place = _place(error, Path(script.dir))
    file = f"Revision file {place[0]}" if place else "A revision file"
    if missing_import(error):
        return DupeAuditError(
            f"{file} failed: {_reason(error)}{location_suffix(error, Path(script.dir))}. The directives are not "
            f"registered: write `{IMPORT}` at the top of {Path(script.dir) / 'env.py'}."
        )
    remedy = NO_EXIT if _ends_quietly(error) else "Fix it until `alembic history` succeeds."
    return DupeAuditError(
        f"{file} cannot be loaded: {_reason(error)}{location_suffix(error, Path(script.dir))}. {remedy}"
    )


def repeated(script: ScriptDirectory) -> DupeAuditError | None:
    """Return the failure that two files have one revision id, which Alembic only warns about, or None."""
    files: dict[str, Path] = {}
    for identifiers in _identifiers(script):
        if identifiers.revision is None:
            continue
        other = files.setdefault(identifiers.revision, identifiers.file)
        if other != identifiers.file:
            return DupeAuditError(
                f"Two files have the revision id {identifiers.revision!r}, {_relative(other)} and "
                f"{_relative(identifiers.file)}, so Alembic would execute one of them or none. Give one of "
                "them another id."
            )
    return None


def _missing_parent(identifiers: list[Identifiers]) -> str | None:
    ids = {each.revision for each in identifiers if each.revision}
    for each in identifiers:
        for parent in sorted(each.parents):
            if parent not in ids and not any(id_.startswith(parent) for id_ in ids):
                return (
                    f"{_relative(each.file)}, line {each.line}: down_revision or depends_on names revision "
                    f"{parent!r}, which no file has."
                )
    return None


def _cycle(error: BaseException, identifiers: list[Identifiers]) -> str | None:
    if "ycle" not in str(error) and "oop" not in str(error):
        return None
    names = [each for each in identifiers if each.revision and f"{each.revision}" in str(error)]
    attribute = "depends_on" if "Dependency" in type(error).__name__ else "down_revision"
    for each in names:
        if each.revision in each.parents:
            return f"{_relative(each.file)}, line {each.line}: the revision names itself as its {attribute}."
    files = ", ".join(f"{_relative(each.file)} (line {each.line})" for each in names or identifiers)
    return f"The revisions form a cycle, because they name one another as {attribute}: {files}."


def _ends_quietly(error: BaseException) -> bool:
    """Return whether a file ended the program without a message; with 0, Alembic would then seem to succeed."""
    return isinstance(error, SystemExit) and not isinstance(error.code, str)


def _identifiers(script: ScriptDirectory) -> Iterator[Identifiers]:
    for location in script._version_locations:  # noqa: SLF001 - the public property differs between releases
        for file in sorted(Path(location).rglob("*.py")):
            try:
                tree = ast.parse(file.read_text("utf-8"))
            except (SyntaxError, OSError, ValueError):
                continue
            values: dict[str, tuple[int, frozenset[str]]] = {}
            for node in tree.body:
                target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
                if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and node.value:
                    strings = [
                        part.value
                        for part in ast.walk(node.value)
                        if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    ]
                    values[target.id] = node.lineno, frozenset(strings)
            if "revision" in values:
                line, parents = values.get("down_revision", (values["revision"][0], frozenset()))
                parents |= values.get("depends_on", (0, frozenset()))[1]
                revision = next(iter(values["revision"][1]), None)
                yield Identifiers(file=file, revision=revision, line=line, parents=parents)


def _reason(error: BaseException, urls: Sequence[str | None] = ()) -> str:
    if isinstance(error, SyntaxError):
        text = error.msg
    elif isinstance(error, DBAPIError):
        text = reason(error)
    else:
        text = "".join(str(error).splitlines()[:1])
    if isinstance(error, ValueError) and any(
        Path(frame.filename).parts[-2:] == ("engine", "url.py") for frame in traceback.extract_tb(error.__traceback__)
    ):
        # A part of the password was mistaken for the port.
        text = re.sub(r"'.*'", "'***'", text)
    name = type(error).__name__
    return without_secrets(f"{name}: {text}".rstrip(": "), [*urls, os.environ.get("DATABASE_URL")])


def location_suffix(error: BaseException, directory: Path) -> str:
    """Return file and line of the project that led to an error, in parentheses, or ""."""
    place = _place(error, directory)
    if place is None:
        return ""
    file, line = place
    return f" ({Path(file).name if Path(file).name == 'env.py' else file}, line {line})"


def _place(error: BaseException, directory: Path) -> tuple[str, int] | None:
    """Return the innermost line of the project's own files that led to an error."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return _relative(Path(error.filename)), error.lineno
    roots = (directory.resolve(), Path.cwd())
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        own = path.is_absolute() and any(path.resolve().is_relative_to(root) for root in roots)
        if (
            own
            and frame.lineno
            and not {"site-packages", "dist-packages"} & set(path.parts)
            and not _in_this_package(path)
        ):
            return _relative(path), frame.lineno
    return None


def _in_this_package(path: Path) -> bool:
    return path.is_relative_to(Path(__file__).parents[1])


def _relative(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
