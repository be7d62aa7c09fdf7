"""Apply and undo single revisions through the project's own ``env.py``, only on the scratch database."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.util import CommandError
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import Failure
from dupe_audit.checks.trial.project import Project
from dupe_audit.checks.trial.redirect import SeveralDatabases, for_one_database, redirected
from dupe_audit.connect import connect
from dupe_audit.directives import failures
from dupe_audit.directives.flask_context import application_context
from dupe_audit.directives.loading import isolated
from dupe_audit.errors import DupeAuditError, DuplicatesKeepComing, Interrupted, Refused
from dupe_audit.findings import STEPS, without_addresses
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import UNDEFINED_TABLE, UNIQUE_VIOLATION, reason, sqlstate
from dupe_audit.postgres.urls import sqlalchemy_url
from dupe_audit.statements import ident, literal, statement

UNSTAMPED = (
    "it ends without an error, but Alembic's version table does not contain it. The revision, or env.py before "
    "context.configure(), began or ended a transaction without Alembic's knowledge, and the statements after that were "
    "not committed"
)


@dataclass(slots=True)
class EnvOptions:
    """What the project's ``env.py`` passed to ``context.configure()`` the last time it was loaded."""

    metadata: tuple[Any, ...] = ()
    include_object: Callable[..., Any] | None = None
    include_name: Callable[..., Any] | None = None
    version_table: str = "alembic_version"
    version_table_schema: str | None = None  #: None if an ordinary session finds the table without it


@dataclass(frozen=True, slots=True)
class Runner:
    """Applies and undoes revisions of a project on one scratch database."""

    project: Project
    url: str
    env_options: EnvOptions = field(default_factory=EnvOptions)

    def upgrade(self, *revisions: str) -> Failure | None:
        """Apply revisions, in this order; without any, only load env.py.

        Returns:
            Why a revision failed, or None.

        Raises:
            DupeAuditError: env.py does not work.
            KeyboardInterrupt: the user interrupted the check.
        """
        return self._migrate(revisions, upgrade=True)

    def downgrade(self, revision: str) -> Failure | None:
        """Undo one revision.

        Returns:
            Why it failed, or None.

        Raises:
            DupeAuditError: env.py does not work.
            KeyboardInterrupt: the user interrupted the check.
        """
        return self._migrate((revision,), upgrade=False)

    def _migrate(self, revisions: Sequence[str], *, upgrade: bool) -> Failure | None:
        script = self.project.script
        migrating = False

        def steps(_heads: object, context: MigrationContext) -> list[MigrationStep]:
            nonlocal migrating
            migrating = True
            self._record(context)
            make = MigrationStep.upgrade_from_script if upgrade else MigrationStep.downgrade_from_script
            return [make(script.revision_map, script.get_revision(revision)) for revision in revisions]

        environment = EnvironmentContext(self.project.config(self.url), script, fn=steps)
        try:
            with on_scratch(self.url), application_context(Path(script.dir)), for_one_database(environment):
                script.run_env()
        except BaseException as error:
            if isinstance(error, SystemExit) and error.code == Interrupted.exit_code:
                raise KeyboardInterrupt from error  # one of our directives received the signal
            if isinstance(error, KeyboardInterrupt | SeveralDatabases) or not migrating:
                raise _unusable(error, Path(script.dir), self.url) from error
            return _failure(error, {Path(script.get_revision(revision).path) for revision in revisions})
        if not migrating:
            raise DupeAuditError(
                "The project's env.py never called context.run_migrations(), so no revision was applied."
            )
        stamped = not revisions or (revisions[-1] in self._heads()) is upgrade
        return None if stamped else Failure(reason=UNSTAMPED)

    def _heads(self) -> set[str]:
        """Return the revisions in the version table, read after every connection of the project is closed."""
        options = self.env_options
        name = ident(*filter(None, (options.version_table_schema, options.version_table)))
        with connect(self.url) as connection:
            try:
                return set(execute(connection, statement("applied_revisions", table=name)).scalars())
            except DBAPIError as error:
                if sqlstate(error) != UNDEFINED_TABLE:
                    raise
                return set()

    def _record(self, context: MigrationContext) -> None:
        """Keep what env.py passed to ``context.configure()``."""
        if context.connection is None or context.as_sql:
            raise DupeAuditError("The project's env.py passes Alembic no connection, which online migrations need.")
        database = context.connection.exec_driver_sql(statement("scratch/current_database")).scalar_one()
        if database != make_url(self.url).database:
            raise DupeAuditError(
                "The project's env.py does not connect to the scratch database. No revision was applied."
            )
        target_metadata = context.opts.get("target_metadata")
        several = target_metadata if isinstance(target_metadata, list | tuple) else [target_metadata]
        options = self.env_options
        options.metadata = tuple(metadata for metadata in several if metadata is not None)
        options.include_object = context.opts.get("include_object")
        options.include_name = context.opts.get("include_name")
        options.version_table = context.version_table
        options.version_table_schema = context.version_table_schema or _version_table_schema(context)


def _version_table_schema(context: MigrationContext) -> str | None:
    """Return the schema in which the migration's own session finds the version table, through its own search_path.

    The usual schema gives None, because in the database of --against another one may be usual.
    """
    if context.connection is None:
        return None
    sql = statement("scratch/version_table_schema", version_table=literal(ident(context.version_table)))
    result = context.connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
    return None if (schema := result.scalar_one()) is None else str(schema)


@contextmanager
def on_scratch(url: str) -> Iterator[None]:
    """Redirect the connections of env.py to *url* within the block, and keep its output and logging off the report.

    ``DATABASE_URL``, which env.py may read, is *url* too. Everything is restored at the end.
    """
    database_url = sqlalchemy_url(url, os.environ.get("DATABASE_URL"))
    with redirected(url), isolated(database_url, quiet=logging.WARNING):
        yield


def _unusable(error: BaseException, directory: Path, url: str) -> BaseException:
    """Return the error to raise if ``env.py`` itself does not work."""
    if isinstance(error, KeyboardInterrupt):
        return error
    if isinstance(error, KeyError) and error.args and (at := failures.location_suffix(error, directory)):
        return DupeAuditError(
            f"The project's env.py needs {error.args[0]}, which is missing{at}. If it is an environment variable, set "
            "it; for a URL any value will do, because every connection is redirected to the scratch database. "
            "If it is an -x argument, pass it: dupe-audit check -x NAME=VALUE."
        )
    return failures.env_error(error, directory, [url])


def _failure(error: BaseException, files: set[Path]) -> Failure:
    """Return why a revision failed, without the DETAIL, which can contain values."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    refusal = next((cause for cause in chain if isinstance(cause, Refused)), None)
    database_error = next((cause for cause in chain if isinstance(cause, DBAPIError)), None)
    without_import = failures.missing_import(error)
    duplicates_keep_coming = any(isinstance(cause, DuplicatesKeepComing) for cause in chain)
    if refusal:
        messages = dict.fromkeys(finding.message for finding in refusal.findings)
        message = " ".join(messages) or str(refusal).splitlines()[0]
    elif without_import:
        message = "env.py does not import the directives"
    elif isinstance(error, CommandError) or database_error is None:
        message = f"{type(error).__name__}: {error}".splitlines()[0] if str(error) else type(error).__name__
    else:
        message = f"{reason(database_error)} (SQLSTATE {sqlstate(database_error)})"
    return Failure(
        # A message continues after it, and the address of an object in memory differs from one attempt to the next.
        reason=without_addresses(message).rstrip("."),
        sqlstate=UNIQUE_VIOLATION if duplicates_keep_coming else sqlstate(database_error) if database_error else None,
        line=_last_line(error, files),
        findings=frozenset(finding.id for finding in refusal.findings) if refusal else frozenset(),
        not_implemented=isinstance(error, NotImplementedError),
        help=STEPS["import-missing"].help if without_import and not refusal else None,
    )


def _last_line(error: BaseException, files: set[Path]) -> int | None:
    """Return the innermost line of the traceback in these files."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) in files]
    return lines[-1] if lines else None
