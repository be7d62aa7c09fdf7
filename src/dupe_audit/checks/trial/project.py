"""The Alembic project: its revisions in order, read from their files, and its configuration led to the scratch."""

from __future__ import annotations

import ast
import os
import sys
import tomllib
import traceback
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from dupe_audit.checks.accept import accepted
from dupe_audit.checks.evidence import Revision
from dupe_audit.checks.trial.redirect import in_terms_of
from dupe_audit.errors import DupeAuditError, WrongUsage

#: Alembic 1.16 and later read their source configuration from here as well
PYPROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project whose revisions could be read."""

    file: str
    x: tuple[str, ...]  #: as for ``alembic -x``
    script: ScriptDirectory
    heads: tuple[str, ...]
    before: tuple[str, ...]  #: revisions to apply, unchecked, before the first that is checked; in order
    revisions: tuple[Revision, ...]

    def config(self, url: str) -> Config:
        """Return a configuration of its own that leads to *url*."""
        config = _config(self.file, self.x)
        # Read without interpolation: a placeholder that cannot be filled in is not ours to judge.
        own = config.file_config.get(config.config_ini_section, "sqlalchemy.url", raw=True, fallback=None)
        config.set_main_option("sqlalchemy.url", in_terms_of(own, url).replace("%", "%%"))
        return config


def load(file: str, *, from_: str = "base", to: str = "heads", x: Sequence[str] = ()) -> Project:
    """Read a project; no database is needed.

    Raises:
        WrongUsage: there is no such file, no revision, or no revision of that name.
        DupeAuditError: a file of the project cannot be loaded.
    """
    if not Path(file).is_file() and not _is_in_pyproject():
        raise WrongUsage(
            f"There is no Alembic config {file!r}. Name it with --config, or go to the project's directory."
        )
    try:
        script = ScriptDirectory.from_config(_config(file, tuple(x)))
        with redirect_stdout(sys.stderr):  # a revision's module may print, and a report goes to standard output
            heads = tuple(script.get_heads())
        # From the newest to the oldest, and each after what it depends on.
        wanted = _walk(script, to, "base")
        before = {one.revision for one in _walk(script, from_, "base")} if from_ != "base" else set()
    except (CommandError, RevisionError) as error:
        raise WrongUsage(f"Alembic cannot read the project: {error}") from error
    except SyntaxError as error:
        raise DupeAuditError(f"{error.filename}:{error.lineno} cannot be loaded: {error.msg}.") from error
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
        where = f"{relative(Path(frames[-1].filename))}:{frames[-1].lineno}" if frames else file
        raise DupeAuditError(f"{where} cannot be loaded: {type(error).__name__}: {error}.") from error
    if not wanted:
        raise WrongUsage(f"The project of {file} has no revision yet. Make one: alembic revision")
    return Project(
        file=file,
        x=tuple(x),
        script=script,
        heads=heads,
        before=tuple(one.revision for one in wanted if one.revision in before),
        revisions=tuple(_revision(one) for one in wanted if one.revision not in before),
    )


def _is_in_pyproject() -> bool:
    try:
        return "alembic" in tomllib.loads(Path(PYPROJECT).read_text("utf-8")).get("tool", {})
    except (OSError, tomllib.TOMLDecodeError):
        return False


def ini_of(file: str) -> str:
    """Return the ini that goes with a config: itself, or alembic.ini beside a pyproject.toml, where Alembic looks."""
    return str(Path(file).with_name("alembic.ini")) if _is_toml(file) else file


def _is_toml(file: str) -> bool:
    return Path(file).suffix == ".toml"


def _config(file: str, x: tuple[str, ...]) -> Config:
    toml = Path(file if _is_toml(file) else PYPROJECT)
    options = Namespace(x=list(x) or None)
    if toml.is_file():
        return Config(ini_of(file), toml_file=toml, cmd_opts=options)
    return Config(file, cmd_opts=options)


def _walk(script: ScriptDirectory, upper: str, lower: str) -> list[Script]:
    return list(reversed(list(script.iterate_revisions(upper, lower))))


def _revision(script: Script) -> Revision:
    path = Path(script.path)
    source = path.read_text("utf-8")
    up, down = (_bound(source, name) for name in ("upgrade", "downgrade"))
    return Revision(
        id=script.revision,
        down=tuple(script._all_down_revisions),  # noqa: SLF001 - Script says its parents in three different types
        path=path,
        file=relative(path),
        upgrade_line=up.lineno if up else 1,
        downgrade_line=down.lineno if down else None,
        empty_upgrade=_empty(script, "upgrade", up),
        empty_downgrade=_empty(script, "downgrade", down),
        says_irreversible=isinstance(down, ast.FunctionDef) and [type(one) for one in _does(down)] == [ast.Raise],
        accepts=accepted(source),
    )


def _bound(source: str, name: str) -> ast.stmt | None:
    """Return the last statement of a module that gives a name its value: a ``def``, an assignment, an import."""
    return next((one for one in reversed(ast.parse(source).body) if name in _names(one)), None)


def _names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
        return  # what is bound inside is not the module's
    for one in ast.walk(statement):
        if isinstance(one, ast.FunctionDef):  # which is defined under a condition
            yield one.name
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            yield one.id
        elif isinstance(one, ast.alias):
            yield one.asname or one.name


def _empty(script: Script, name: str, bound: ast.stmt | None) -> bool:
    """Tell whether a function does nothing: one that is not written here as such has to be run to know."""
    if isinstance(bound, ast.FunctionDef):
        return not _does(bound)
    return not hasattr(script.module, name)  # a star import binds what no statement names


def _does(function: ast.FunctionDef) -> list[ast.stmt]:
    """Return the statements that do something: no docstring, no ``pass``, no bare ``return``."""

    def idle(one: ast.stmt) -> bool:
        constant = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
        return constant or isinstance(one, ast.Pass) or (isinstance(one, ast.Return) and one.value is None)

    return [one for one in function.body if not idle(one)]


def relative(path: Path) -> str:
    """Return the path as reports show it: from the working directory where it lies within, with forward slashes."""
    path = Path(os.path.realpath(path))
    here = Path(os.path.realpath(Path.cwd()))
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()
