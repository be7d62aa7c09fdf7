"""Foreign keys in a generated revision: created after the unique key that they reference, and dropped before it.

The directives are not part of their table's changes, so Alembic's own order does not cover them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alembic.operations import MigrateOperation, ops
from sqlalchemy import ForeignKeyConstraint

from dupe_audit.model import UniqueKey
from dupe_audit.postgres.names import default_name


@dataclass(frozen=True, slots=True)
class ReferencedKeys:
    """The unique keys that a revision creates, or drops, as foreign keys reference them."""

    keys: frozenset[tuple[str | None, str, frozenset[str]]]  #: schema, table, columns
    default_schema: str | None  #: the schema of a table that is named without one

    @classmethod
    def of(cls, keys: Iterable[UniqueKey], default_schema: str | None) -> ReferencedKeys:
        """Return *keys* by table and columns; a foreign key may name the columns in any order."""
        # A foreign key can reference plain keys only.
        names = ((key.schema or default_schema, key.table, frozenset(key.elements)) for key in keys if key.is_plain)
        return cls(frozenset(names), default_schema)

    def referenced_by(self, operation: MigrateOperation | None) -> bool:
        """Return whether *operation* creates a foreign key to one of the keys."""
        if not isinstance(operation, ops.CreateForeignKeyOp):
            return False
        schema = operation.kw.get("referent_schema") or self.default_schema
        columns = frozenset(map(str, operation.remote_cols))
        return (schema and str(schema), str(operation.referent_table), columns) in self.keys


def ordered(
    operations: Iterable[MigrateOperation], *, dropped: ReferencedKeys, created: ReferencedKeys
) -> Iterator[MigrateOperation]:
    """Yield drops of foreign keys to dropped keys, then everything else as it was, then foreign keys to created keys.

    The downgrade, which is the reverse, is then in the right order too.
    """
    first, middle, last = list[MigrateOperation](), list[MigrateOperation](), list[MigrateOperation]()
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            drops = [change for change in operation.ops if dropped.referenced_by(_dropped_foreign_key(change))]
            additions = [change for change in operation.ops if created.referenced_by(change)]
            operation.ops[:] = [change for change in operation.ops if change not in drops and change not in additions]
            first += changes_of(operation, drops)
            middle += [operation] if operation.ops else []
            last += changes_of(operation, [_named(addition) for addition in additions])
        else:
            middle.append(operation)
            if isinstance(operation, ops.CreateTableOp):
                last += changes_of(operation, _taken_out(operation, created))
    yield from first
    yield from middle
    yield from last


def _dropped_foreign_key(operation: MigrateOperation) -> MigrateOperation | None:
    """Return the operation that would create the foreign key that *operation* drops; None if it drops none."""
    is_drop = isinstance(operation, ops.DropConstraintOp) and operation.constraint_type == "foreignkey"
    return operation.reverse() if is_drop else None


def changes_of(
    table: ops.ModifyTableOps | ops.CreateTableOp, changes: Sequence[MigrateOperation]
) -> list[MigrateOperation]:
    """Return changes of a table as the operation that a revision has for them; nothing if there are none."""
    return [ops.ModifyTableOps(table.table_name, changes, schema=table.schema)] if changes else []


def _taken_out(table: ops.CreateTableOp, created: ReferencedKeys) -> list[MigrateOperation]:
    """Take the foreign keys to created keys out of a new table, and return the operations that create them later."""
    inline = {
        id(item): ops.CreateForeignKeyOp.from_constraint(item)
        for item in table.columns
        if isinstance(item, ForeignKeyConstraint)
    }
    waiting = {item_id: foreign_key for item_id, foreign_key in inline.items() if created.referenced_by(foreign_key)}
    table.columns = [item for item in table.columns if id(item) not in waiting]
    return [_named(foreign_key) for foreign_key in waiting.values()]


def _named(operation: MigrateOperation) -> MigrateOperation:
    """Give an unnamed foreign key the name that PostgreSQL would choose: the downgrade has to drop it by name.

    Dropping its table or column would come too late: while it exists, the unique key cannot be dropped.
    """
    if isinstance(operation, ops.CreateForeignKeyOp) and operation.constraint_name is None:
        operation.constraint_name = default_name(str(operation.source_table), operation.local_cols, "fkey")
    return operation
