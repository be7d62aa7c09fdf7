"""Look, without changing anything, at the database that the revisions are meant for."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import Against, Step, Waiting
from dupe_audit.checks.trial.project import Project
from dupe_audit.connect import connect, describe
from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import UNDEFINED_TABLE, reason, sqlstate
from dupe_audit.schema.rowsets import describe_key, extras_before
from dupe_audit.statements import ident, literal

log = logging.getLogger("alembic.dupe_audit")


def look(url: str, project: Project, steps: Sequence[Step], version_table: tuple[str | None, str]) -> Against:
    """Return what is pending there, and how many extras stand in its way.

    The project's env.py is not run: its version table is read, in a read-only session.

    Raises:
        DupeAuditError: the database cannot be reached or read, or is at a revision that the project does not have.
    """
    with connect(url) as connection:
        execute(connection, "SET default_transaction_read_only = on")
        log.info("pending revisions are those of %s, which is only read", describe(connection))
        try:
            pending = _pending(connection, project, version_table)
            waiting = [one for step in steps if step.revision.id in pending for one in _waiting(connection, step)]
        except DBAPIError as error:
            raise DupeAuditError(f"The database of --against cannot be read: {reason(error)}.") from error
    return Against(pending=frozenset(pending), waiting=tuple(waiting))


def _pending(connection: Connection, project: Project, version_table: tuple[str | None, str]) -> set[str]:
    name = ident(*(part for part in version_table if part))
    try:
        heads = tuple(execute(connection, f"SELECT version_num FROM {name}").scalars())
    except DBAPIError as error:
        if sqlstate(error) != UNDEFINED_TABLE:
            raise
        heads = ()  # no revision was ever applied
    known = {one.id for one in project.revisions} | set(project.before)
    every = {one.revision for one in project.script.walk_revisions()}
    if strange := sorted(set(heads) - every):
        raise DupeAuditError(f"The database of --against is at a revision that is not here: {', '.join(strange)}.")
    applied = {one.revision for one in project.script.iterate_revisions(heads, "base")} if heads else set()
    return known - applied


def _waiting(connection: Connection, step: Step) -> list[Waiting]:
    found = []
    for index in step.new_unique:
        table = step.before.table(index.relid)
        if table is None:
            continue
        there = execute(
            connection,
            "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE n.nspname = {literal(table.schema)} AND c.relname = {literal(table.name)}",
        ).scalar()
        if there is None:
            continue
        extras = extras_before(connection, ident(table.schema, table.name), index, int(there))
        if extras:
            found.append(Waiting(revision=step.revision.id, table=str(table), key=describe_key(index), extras=extras))
    return found
