"""Foreign keys in a generated revision: they come after the unique key that they reference, and leave before it.

A directive stands apart from the other changes of its table, so Alembic's own order does not see to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alembic.operations import MigrateOperation, ops
from sqlalchemy import ForeignKeyConstraint

from dupe_audit.model import UniqueKey
from dupe_audit.postgres.names import default_name


@dataclass(frozen=True, slots=True)
class Referenced:
    """Unique keys that a revision makes, or drops."""

    keys: frozenset[tuple[str | None, str, frozenset[str]]]
    default: str | None  #: the schema of a table for which none is said

    @classmethod
    def by(cls, keys: Iterable[UniqueKey], default: str | None) -> Referenced:
        """Return those keys, for :meth:`needs`."""
        return cls(frozenset((key.schema or default, key.table, frozenset(key.columns)) for key in keys), default)

    def needs(self, foreign: object) -> bool:
        """Tell whether this is a foreign key to one of them, whose columns it may name in any order."""
        if not isinstance(foreign, ops.CreateForeignKeyOp):
            return False
        schema = foreign.kw.get("referent_schema") or self.default
        columns = frozenset(map(str, foreign.remote_cols))
        return (schema and str(schema), str(foreign.referent_table), columns) in self.keys


def ordered(
    found: Iterable[MigrateOperation], *, leaving: Referenced, coming: Referenced
) -> Iterator[MigrateOperation]:
    """Yield drops of foreign keys to leaving keys, all the rest as it was, and foreign keys to coming keys.

    The way back, which is the reverse, is in order too.
    """
    first, rest, last = list[MigrateOperation](), list[MigrateOperation](), list[MigrateOperation]()
    for one in found:
        if isinstance(one, ops.ModifyTableOps):
            dropped = [each for each in one.ops if leaving.needs(_dropped(each))]
            added = [each for each in one.ops if coming.needs(each)]
            one.ops[:] = [each for each in one.ops if each not in dropped and each not in added]
            first += _of(one, dropped)
            rest += [one] if one.ops else []
            last += _of(one, [_named(each) for each in added])
        else:
            rest.append(one)
            if isinstance(one, ops.CreateTableOp):
                last += _of(one, _taken_out(one, coming))
    yield from first
    yield from rest
    yield from last


def _dropped(one: MigrateOperation) -> MigrateOperation | None:
    """Return the foreign key that an operation drops."""
    foreign = isinstance(one, ops.DropConstraintOp) and one.constraint_type == "foreignkey"
    return one.reverse() if foreign else None


def _of(table: ops.ModifyTableOps | ops.CreateTableOp, changes: list[MigrateOperation]) -> list[MigrateOperation]:
    return [ops.ModifyTableOps(table.table_name, changes, schema=table.schema)] if changes else []


def _taken_out(table: ops.CreateTableOp, coming: Referenced) -> list[MigrateOperation]:
    """Return the foreign keys of a new table that have to wait, and take them out of it."""
    inline = {
        id(item): ops.CreateForeignKeyOp.from_constraint(item)
        for item in table.columns
        if isinstance(item, ForeignKeyConstraint)
    }
    waiting = {item: foreign for item, foreign in inline.items() if coming.needs(foreign)}
    table.columns = [item for item in table.columns if id(item) not in waiting]
    return [_named(foreign) for foreign in waiting.values()]


def _named(foreign: MigrateOperation) -> MigrateOperation:
    """Give a foreign key without a name the one that PostgreSQL would: the way back has to drop it by name.

    It cannot be left to the drop of its table, or of its column: it is in the way of dropping the unique key.
    """
    if isinstance(foreign, ops.CreateForeignKeyOp) and foreign.constraint_name is None:
        foreign.constraint_name = default_name(str(foreign.source_table), foreign.local_cols, "fkey")
    return foreign
