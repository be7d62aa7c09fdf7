"""The ON CONFLICT clause of a key, for an INSERT that the application executes in a SQLAlchemy session."""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.exc import DBAPIError

from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import INVALID_COLUMN_REFERENCE, NO_ACTIVE_TRANSACTION, sqlstate
from dupe_audit.writer.target import arbiters_in, arbiters_sql, target_sql


def enforced(connection: Connection, key: UniqueKey, *, where: str | None = None) -> bool:
    """Return whether the key's constraint exists, is valid and not deferrable, so that ON CONFLICT can name it.

    Without a name, any valid unique index over the key's columns counts. With *where*, the part of the table in which
    the key is unique, so does a partial index.

    Raises:
        DupeAuditError: the table does not exist.
        sqlalchemy.exc.DBAPIError: *where* is not a valid condition, or the role may not insert.
    """
    key, relation = catalog.require(connection, key)
    if where is None:
        return execute(connection, target_sql(key)).mappings().one()["arbiter_columns"] is not None
    plan = arbiters_sql(relation.name, key, where)
    in_transaction = True
    try:
        execute(connection, "SAVEPOINT dupe_audit_arbiter")
    except DBAPIError as error:
        if sqlstate(error) != NO_ACTIVE_TRANSACTION:
            raise
        in_transaction = False  # in autocommit, an error of the next statement spoils nothing
    try:
        return bool(arbiters_in(execute(connection, plan).scalar_one()))
    except DBAPIError as error:
        if sqlstate(error) != INVALID_COLUMN_REFERENCE:
            raise
        if in_transaction:
            execute(connection, "ROLLBACK TO SAVEPOINT dupe_audit_arbiter")
        return False


def on_conflict(statement: Insert, key: UniqueKey, *, enforced: bool = True, where: str | None = None) -> Insert:
    """Return the INSERT with ``ON CONFLICT … DO NOTHING`` for the key.

    RETURNING then gives no row for a duplicate, so fetch its result with ``scalar_one_or_none()``. With
    ``enforced=False``, for the time before the constraint is valid, the clause names no target and silently skips a
    conflict with *any* unique index; use the default again as soon as ``enforced(connection, key)`` is true.
    With *where*, the clause names the columns and the part of the table in which the key is unique.
    """
    if not enforced:
        return statement.on_conflict_do_nothing()
    if where is not None:
        return statement.on_conflict_do_nothing(index_elements=list(key.elements), index_where=text(where))
    if key.name:
        return statement.on_conflict_do_nothing(constraint=key.name)
    return statement.on_conflict_do_nothing(index_elements=list(key.elements))
