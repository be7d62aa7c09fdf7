"""Run single revisions through the project's own ``env.py``, on the scratch database alone."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.util import CommandError
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import Failure
from dupe_audit.checks.trial.project import Project, relative
from dupe_audit.checks.trial.redirect import SeveralDatabases, for_one_database, in_terms_of, redirected
from dupe_audit.connect import connect
from dupe_audit.errors import DupeAuditError, DuplicatesKeepComing, Interrupted, Refused
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import UNDEFINED_TABLE, UNIQUE_VIOLATION, reason, sqlstate
from dupe_audit.statements import ident, literal

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")

UNSTAMPED = (
    "it ends well, and Alembic's version table does not say so. Somebody began or ended a transaction behind Alembic's "
    "back, in the revision or in env.py before context.configure(), and what came after that was not committed"
)


@dataclass(slots=True)
class Environment:
    """What the project's ``env.py`` told Alembic, as last seen."""

    metadata: tuple[Any, ...] = ()
    include_object: Callable[..., Any] | None = None
    include_name: Callable[..., Any] | None = None
    version_table: str = "alembic_version"
    version_table_schema: str | None = None  #: None where an ordinary session finds it by itself


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs revisions of a project on one scratch database."""

    project: Project
    url: str
    environment: Environment = field(default_factory=Environment)

    def up(self, *revisions: str) -> Failure | None:
        """Apply revisions, in this order."""
        return self._run(revisions, upgrade=True)

    def down(self, revision: str) -> Failure | None:
        """Undo one revision."""
        return self._run((revision,), upgrade=False)

    def _run(self, revisions: Sequence[str], *, upgrade: bool) -> Failure | None:
        script = self.project.script
        ran = False

        def steps(_heads: object, context: MigrationContext) -> list[MigrationStep]:
            nonlocal ran
            ran = True
            self._note(context)
            make = MigrationStep.upgrade_from_script if upgrade else MigrationStep.downgrade_from_script
            return [make(script.revision_map, script.get_revision(one)) for one in revisions]

        environment = EnvironmentContext(self.project.config(self.url), script, fn=steps)
        try:
            with led(self.url), for_one_database(environment):
                script.run_env()
        except BaseException as error:
            if isinstance(error, SystemExit) and error.code == Interrupted.exit_code:
                raise KeyboardInterrupt from error  # which a directive of ours heard
            if isinstance(error, KeyboardInterrupt | SeveralDatabases) or not ran:
                raise _unusable(error) from error
            return _failure(error, {Path(script.get_revision(one).path) for one in revisions})
        if not ran:
            raise DupeAuditError("The project's env.py ran no migrations: it never called context.run_migrations().")
        stamped = not revisions or (revisions[-1] in self._heads()) is upgrade
        return None if stamped else Failure(reason=UNSTAMPED)

    def _heads(self) -> set[str]:
        """Return what the version table says once every connection of the project's is closed."""
        seen = self.environment
        name = ident(*filter(None, (seen.version_table_schema, seen.version_table)))
        with connect(self.url) as connection:
            try:
                return set(execute(connection, f"SELECT version_num FROM {name}").scalars())
            except DBAPIError as error:
                if sqlstate(error) != UNDEFINED_TABLE:
                    raise
                return set()

    def _note(self, context: MigrationContext) -> None:
        if context.connection is None or context.as_sql:
            raise DupeAuditError("The project's env.py gives Alembic no connection. It has to, when it is not offline.")
        where = context.connection.exec_driver_sql("SELECT pg_catalog.current_database()").scalar_one()
        if where != make_url(self.url).database:
            raise DupeAuditError("The project's env.py does not come to the scratch database. Nothing was run.")
        metadata = context.opts.get("target_metadata")
        several = metadata if isinstance(metadata, list | tuple) else [metadata]
        self.environment.metadata = tuple(one for one in several if one is not None)
        self.environment.include_object = context.opts.get("include_object")
        self.environment.include_name = context.opts.get("include_name")
        self.environment.version_table = context.version_table
        self.environment.version_table_schema = context.version_table_schema or _schema_of(context)


def _schema_of(context: MigrationContext) -> str | None:
    """Return the schema in which the migration's own session finds the version table, by a search_path of its own.

    The usual one gives None: in the database of --against, it need not be the usual one.
    """
    table = literal(ident(context.version_table))
    found = context.connection and context.connection.exec_driver_sql(
        "SELECT nullif(coalesce((SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE c.oid OPERATOR(pg_catalog.=) "
        f"pg_catalog.to_regclass({table})), pg_catalog.current_schema())::text, 'public')",
        execution_options={"no_parameters": True},
    )
    return found.scalar_one() if found else None


@contextmanager
def led(url: str) -> Iterator[None]:
    """Lead connections, and env.py's usual ways to a URL; keep Alembic's voice down; put all back."""
    before = (
        os.environ.get("DATABASE_URL"),
        logging.root.manager.disable,
        list(logging.root.handlers),
        logging.root.level,
    )
    os.environ["DATABASE_URL"] = in_terms_of(before[0], url)
    logging.disable(logging.WARNING)
    try:
        # What the project prints must not come into a report, which goes to standard output.
        with redirected(url), redirect_stdout(sys.stderr):
            yield
    finally:
        had, disabled, handlers, level = before
        if had is None:
            del os.environ["DATABASE_URL"]
        else:
            os.environ["DATABASE_URL"] = had
        logging.disable(disabled)
        logging.root.handlers[:] = handlers  # fileConfig() of env.py replaces them
        logging.root.setLevel(level)


def _unusable(error: BaseException) -> BaseException:
    """Return what to raise where ``env.py`` itself does not work."""
    if isinstance(error, DupeAuditError | KeyboardInterrupt):
        return error
    where = _last_line(error, None)
    at = f" ({where[0]}:{where[1]})" if where else ""
    if isinstance(error, KeyError) and where and error.args:
        return DupeAuditError(
            f"The project's env.py needs something that is not there: {error.args[0]}{at}. If it is an environment "
            "variable, set it; any value will do for a URL, since every connection is led to the scratch database. "
            "If it is an -x argument, give it: dupe-audit check -x NAME=VALUE."
        )
    said = reason(error) if isinstance(error, DBAPIError) else f"{type(error).__name__}: {error}".splitlines()[0]
    return DupeAuditError(f"The project's env.py cannot be run{at}: {said}. Mend that; alembic current has to work.")


def _failure(error: BaseException, files: set[Path]) -> Failure:
    """Return why a revision failed, without the values that a DETAIL can hold."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    refused = next((one for one in chain if isinstance(one, Refused)), None)
    database = next((one for one in chain if isinstance(one, DBAPIError)), None)
    came_again = any(isinstance(one, DuplicatesKeepComing) for one in chain)
    place = _last_line(error, files)
    if refused:
        said = " ".join(one.message for one in refused.findings) or str(refused).splitlines()[0]
    elif isinstance(error, CommandError) or database is None:
        said = f"{type(error).__name__}: {error}".splitlines()[0] if str(error) else type(error).__name__
    else:
        said = f"{reason(database)} (SQLSTATE {sqlstate(database)})"
    return Failure(
        # It ends in the middle of a sentence, and where an object was in memory is another place each time.
        reason=_ADDRESS.sub("", said).rstrip("."),
        sqlstate=UNIQUE_VIOLATION if came_again else sqlstate(database) if database else None,
        line=place[1] if place else None,
        findings=frozenset(one.id for one in refused.findings) if refused else frozenset(),
        not_implemented=isinstance(error, NotImplementedError),
    )


def _last_line(error: BaseException, files: set[Path] | None) -> tuple[str, int] | None:
    """Return the innermost line in these files, or in any of the project's."""
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        ours = path in files if files is not None else "site-packages" not in path.parts and path.name == "env.py"
        if ours and frame.lineno:
            found = relative(path), frame.lineno
    return found
