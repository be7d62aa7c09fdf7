"""Look at the database that the revisions are meant for, without changing anything."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import EmptyTrip, TargetState, WaitingExtras
from dupe_audit.checks.trial.project import Project
from dupe_audit.connect import connect, describe
from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import UNDEFINED_TABLE, reason, sqlstate
from dupe_audit.schema.rowsets import describe_key, extras_before
from dupe_audit.statements import ident, literal, statement

log = logging.getLogger("alembic.dupe_audit")


def inspect_target(
    url: str, project: Project, trips: Sequence[EmptyTrip], version_table: tuple[str | None, str]
) -> TargetState:
    """Return which revisions are pending in a database, and how many extras would stop them.

    The project's env.py is not loaded for it: a read-only session reads the version table.

    Args:
        url: of the database.
        project: whose revisions are compared.
        trips: of the checked revisions, with the unique indexes that each adds.
        version_table: schema, or None for the search path, and name.

    Raises:
        DupeAuditError: the database cannot be reached or read, or is at a revision that the project does not have.
    """
    with connect(url) as connection:
        execute(connection, "SET default_transaction_read_only = on")
        log.info("looking for pending revisions, read-only, in %s", describe(connection))
        try:
            pending = _pending(connection, project, version_table)
            waiting = [extras for trip in trips if trip.revision.id in pending for extras in _waiting(connection, trip)]
        except DBAPIError as error:
            raise DupeAuditError(f"The database of --against cannot be read: {reason(error)}.") from error
    return TargetState(pending=frozenset(pending), waiting=tuple(waiting))


def _pending(connection: Connection, project: Project, version_table: tuple[str | None, str]) -> set[str]:
    name = ident(*(part for part in version_table if part))
    try:
        heads = tuple(execute(connection, statement("applied_revisions", table=name)).scalars())
    except DBAPIError as error:
        if sqlstate(error) != UNDEFINED_TABLE:
            raise
        heads = ()  # no revision was ever applied
    wanted = {revision.id for revision in project.revisions} | set(project.unchecked)
    project_ids = {script.revision for script in project.script.walk_revisions()}
    if unknown := sorted(set(heads) - project_ids):
        ids = ", ".join(unknown)
        raise DupeAuditError(f"The database of --against is at a revision that the project does not have: {ids}.")
    applied = {script.revision for script in project.script.iterate_revisions(heads, "base")} if heads else set()
    return wanted - applied


def _waiting(connection: Connection, trip: EmptyTrip) -> Iterator[WaitingExtras]:
    for index in trip.new_unique:
        table = trip.before.table(index.relid)
        if table is None:
            continue
        relid = statement("relid", table_name=literal(table.name), schema_name=literal(table.schema))
        oid = execute(connection, relid).scalar()
        if oid is None:
            continue
        extras = extras_before(connection, ident(table.schema, table.name), index, int(oid))
        if extras:
            yield WaitingExtras(revision=trip.revision.id, table=str(table), key=describe_key(index), extras=extras)
