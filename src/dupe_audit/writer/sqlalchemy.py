"""The ON CONFLICT clause of a key, for an INSERT that the application executes in a SQLAlchemy session."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import Insert

from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement, text_array


def enforced(connection: Connection, key: UniqueKey) -> bool:
    """Return whether the key's constraint exists, is valid and not deferrable, so that ON CONFLICT can name it.

    Without a name, any valid unique index over the key's columns counts.

    Raises:
        DupeAuditError: the table does not exist.
    """
    key, relation = catalog.require(connection, key)
    query = statement("write_target", relid=str(relation.relid), name=literal(key.name), key=text_array(key.columns))
    return execute(connection, query).mappings().one()["arbiter_columns"] is not None


def on_conflict(statement: Insert, key: UniqueKey, *, enforced: bool = True) -> Insert:
    """Return the INSERT with ``ON CONFLICT … DO NOTHING`` for the key.

    RETURNING then gives no row for a duplicate, so fetch its result with ``scalar_one_or_none()``. With
    ``enforced=False``, for the time before the constraint is valid, the clause names no target and silently skips a
    conflict with *any* unique index; use the default again as soon as ``enforced(connection, key)`` is true.
    """
    if not enforced:
        return statement.on_conflict_do_nothing()
    if key.name:
        return statement.on_conflict_do_nothing(constraint=key.name)
    return statement.on_conflict_do_nothing(index_elements=list(key.columns))
