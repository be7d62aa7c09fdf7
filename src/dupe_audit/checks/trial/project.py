"""The Alembic project: its revisions in order, read from their files, and its config for the scratch database."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from dupe_audit.checks.evidence import Revision
from dupe_audit.config_file import alembic_config
from dupe_audit.directives.loading import load as load_revisions
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import accepted
from dupe_audit.postgres.urls import sqlalchemy_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project whose revisions could be read."""

    file: str
    x: tuple[str, ...]  #: as for ``alembic -x``
    script: ScriptDirectory
    heads: tuple[str, ...]
    unchecked: tuple[str, ...]  #: ids of the revisions up to --from, which are only applied; in upgrade order
    revisions: tuple[Revision, ...]  #: those that are checked, in upgrade order

    def config(self, url: str) -> Config:
        """Return a new config whose ``sqlalchemy.url`` is *url*."""
        config = alembic_config(self.file, x=self.x)
        # Read without interpolation, so that a placeholder without a value is not an error here.
        project_url = config.file_config.get(config.config_ini_section, "sqlalchemy.url", raw=True, fallback=None)
        # With the project's own driver, on which env.py may depend.
        config.set_main_option("sqlalchemy.url", sqlalchemy_url(url, project_url).replace("%", "%%"))
        return config


def load(file: str, *, from_: str = "base", to: str = "heads", x: Sequence[str] = ()) -> Project:
    """Read a project; no database is needed.

    Args:
        file: Alembic config, an ini file or a ``pyproject.toml``.
        from_: the last revision that is not checked.
        to: the last revision that is checked.
        x: arguments for env.py, as for ``alembic -x``.

    Raises:
        WrongUsage: the config does not exist or cannot be read, or the project has no revision at all or none of that
            name.
        DupeAuditError: a revision's file cannot be loaded, or the revisions are not in order.
    """
    config = alembic_config(file, x=x)
    with redirect_stdout(sys.stderr):  # a revision's module may print, but stdout is for the report
        script = load_revisions(config, file, instead="change to the project's directory")
    try:
        wanted = _in_upgrade_order(script, to)
        unchecked = {revision.revision for revision in _in_upgrade_order(script, from_)} if from_ != "base" else set()
    except (CommandError, RevisionError) as error:
        raise WrongUsage(
            f"--from {from_}, --to {to}: {str(error).rstrip('.')}. Name revisions of this project."
        ) from error
    if not wanted:
        raise WrongUsage(f"The project of {file} has no revision yet. Create one: alembic revision")
    return Project(
        file=file,
        x=tuple(x),
        script=script,
        heads=tuple(script.get_heads()),
        unchecked=tuple(revision.revision for revision in wanted if revision.revision in unchecked),
        revisions=tuple(_revision(revision) for revision in wanted if revision.revision not in unchecked),
    )


def ini_of(file: str) -> str:
    """Return the ini file of a config: itself, or, as for Alembic, the alembic.ini next to a pyproject.toml."""
    return str(Path(file).with_name("alembic.ini")) if _is_toml(file) else file


def _is_toml(file: str) -> bool:
    return Path(file).suffix == ".toml"


def _in_upgrade_order(script: ScriptDirectory, upper: str) -> list[Script]:
    """Return the revisions up to *upper*, each after those that it depends on."""
    return list(reversed(list(script.iterate_revisions(upper, "base"))))


def _revision(script: Script) -> Revision:
    path = Path(script.path)
    source = path.read_text("utf-8")
    upgrade, downgrade = (_bound(source, name) for name in ("upgrade", "downgrade"))
    return Revision(
        id=script.revision,
        parents=tuple(script._all_down_revisions),  # noqa: SLF001 - the public attributes have three different types
        path=path,
        file=relative(path),
        upgrade_line=upgrade.lineno if upgrade else 1,
        downgrade_line=downgrade.lineno if downgrade else None,
        empty_upgrade=_empty(script, "upgrade", upgrade),
        empty_downgrade=_empty(script, "downgrade", downgrade),
        refuses_downgrade=isinstance(downgrade, ast.FunctionDef)
        and [type(statement) for statement in _effective(downgrade)] == [ast.Raise],
        accepts=accepted(source),
    )


def _bound(source: str, name: str) -> ast.stmt | None:
    """Return the last statement of a module that binds a name: a ``def``, an assignment, an import."""
    return next((statement for statement in reversed(ast.parse(source).body) if name in _names(statement)), None)


def _names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
        return  # names bound inside are not the module's
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef):  # defined under a condition
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


def _empty(script: Script, name: str, bound: ast.stmt | None) -> bool:
    """Return whether a function does nothing; one that is not a ``def`` in this file counts as doing something."""
    if isinstance(bound, ast.FunctionDef):
        return not _effective(bound)
    return not hasattr(script.module, name)  # a star import binds names that no statement mentions


def _effective(function: ast.FunctionDef) -> list[ast.stmt]:
    """Return the statements that do something, without docstrings, ``pass`` and bare ``return``."""

    def idle(statement: ast.stmt) -> bool:
        constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        return (
            constant
            or isinstance(statement, ast.Pass)
            or (isinstance(statement, ast.Return) and statement.value is None)
        )

    return [statement for statement in function.body if not idle(statement)]


def relative(path: Path) -> str:
    """Return the path as reports show it: relative to the working directory if inside it, with forward slashes."""
    path = Path(os.path.realpath(path))
    working_directory = Path(os.path.realpath(Path.cwd()))
    return (path.relative_to(working_directory) if path.is_relative_to(working_directory) else path).as_posix()
