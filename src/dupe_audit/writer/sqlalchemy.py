"""The ON CONFLICT clause of a key, for an INSERT that the application executes in a SQLAlchemy session."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, TextClause, literal_column
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.exc import DBAPIError

from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import INVALID_COLUMN_REFERENCE, NO_ACTIVE_TRANSACTION, sqlstate
from dupe_audit.writer.arbiters import arbiters_in, arbiters_sql
from dupe_audit.writer.arguments import collated, key_of
from dupe_audit.writer.target import target_sql


def enforced(connection: Connection, key: UniqueKey, *, where: str | TextClause | None = None) -> bool:
    """Return whether the key's constraint exists, is valid and not deferrable, so that ON CONFLICT can name it.

    Without a name, any valid unique index over the key's elements counts. With a predicate, the key's own or *where*,
    so does a partial index.

    Raises:
        DupeAuditError: the table does not exist.
        WrongUsage: *where* contradicts the key's own predicate.
        sqlalchemy.exc.DBAPIError: an expression or the predicate is not valid, or the role may not insert.
    """
    key, relation = catalog.require(connection, key_of(key, table=None, schema=None, where=where))
    if key.is_plain:
        return execute(connection, target_sql(key)).mappings().one()["arbiter_columns"] is not None
    plan = arbiters_sql(relation.name, key)
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


def on_conflict(
    statement: Insert, key: UniqueKey, *, enforced: bool = True, where: str | TextClause | None = None
) -> Insert:
    """Return the INSERT with ``ON CONFLICT … DO NOTHING`` for the key.

    RETURNING then gives no row for a duplicate, so fetch its result with ``scalar_one_or_none()``. With
    ``enforced=False``, for the time before the constraint is valid, the clause names no target and silently skips a
    conflict with *any* unique index; use the default again as soon as ``enforced(connection, key)`` is true.
    For a key with an expression or a predicate, its own or *where*, the clause names the elements and the predicate.

    Raises:
        WrongUsage: *where* contradicts the key's own predicate.
    """
    key = key_of(key, table=None, schema=None, where=where)
    if not enforced:
        return statement.on_conflict_do_nothing()
    if key.name and key.is_plain and key.form == "constraint":
        return statement.on_conflict_do_nothing(constraint=key.name)
    elements: list[Any] = [
        name if name is not None else literal_column("".join(collated(text)))
        for name, text in zip(key.names, key.elements, strict=True)
    ]
    # Not text(), which would read :name as a parameter.
    predicate: Any = None if key.where is None else literal_column(key.where)
    return statement.on_conflict_do_nothing(index_elements=elements, index_where=predicate)
