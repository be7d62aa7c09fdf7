"""Which table a directive is about, and how messages name what it is about."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache

from alembic.operations import MigrateOperation
from sqlalchemy import Connection

from dupe_audit.directives.operations import UNKNOWN, DropUniqueConstraintOnlineOp
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog


def identities(connection: Connection, locate: Callable[[UniqueKey], UniqueKey]) -> Callable[[UniqueKey], Hashable]:
    """Return a function that identifies the table of a key, and asks for each table once.

    Args:
        locate: fills in the schema of a key, as Alembic's own operations would.
    """

    @cache
    def identify(schema: str | None, table: str) -> Hashable:
        match = catalog.find(connection, locate(UniqueKey(schema=schema, table=table, columns=(UNKNOWN,))))
        return match[1].relid if match else (schema, table)

    return lambda key: identify(key.schema, key.table)


def subject(operation: MigrateOperation, key: UniqueKey | None = None) -> str:
    """Return the key or constraint that a directive is about, as messages name it."""
    key = key or operation.key  # type: ignore[attr-defined]
    if isinstance(operation, DropUniqueConstraintOnlineOp):
        table = f"{key.schema}.{key.table}" if key.schema else key.table
        return f"{key.form} {key.name} on {table}"
    return str(key)
