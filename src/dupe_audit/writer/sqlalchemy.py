"""For people who have a SQLAlchemy session: the ON CONFLICT clause of a key, on a statement of their own."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import Insert

from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, text_array
from dupe_audit.statements import statement as filled


def enforced(connection: Connection, key: UniqueKey) -> bool:
    """Tell whether the key's constraint is there, valid and immediate, so that ON CONFLICT can name it.

    Raises:
        DupeAuditError: there is no such table.
    """
    key, relation = catalog.require(connection, key)
    look = filled("write_target", relid=str(relation.relid), name=literal(key.name), key=text_array(key.columns))
    return execute(connection, look).mappings().one()["arbiter_columns"] is not None


def on_conflict(statement: Insert, key: UniqueKey, *, enforced: bool = True) -> Insert:
    """Return the INSERT with ``ON CONFLICT … DO NOTHING`` for the key.

    A duplicate then gives no row of RETURNING: ``scalar_one_or_none()``. With ``enforced=False``, before the
    constraint is valid, no target is named; then a conflict with *any* unique index is passed over in silence,
    so go back to the named one as soon as ``enforced(connection, key)`` is true.
    """
    if not enforced:
        return statement.on_conflict_do_nothing()
    if key.name:
        return statement.on_conflict_do_nothing(constraint=key.name)
    return statement.on_conflict_do_nothing(index_elements=list(key.columns))
