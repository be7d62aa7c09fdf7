"""``alembic revision --autogenerate``: unique keys of existing tables are written as directives, both ways.

The directives replace Alembic's operations after it has compared everything, so every filter of the project applies.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from alembic import util
from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, ops
from sqlalchemy import Index, Table, UniqueConstraint

from dupe_audit.directives.autogenerate.comparison import compare, declared_key, spelled
from dupe_audit.directives.autogenerate.foreign_keys import ReferencedKeys, ordered
from dupe_audit.directives.autogenerate.generated import Enforce, Release, Remark, Replace, Swap
from dupe_audit.directives.autogenerate.key_changes import in_order
from dupe_audit.directives.autogenerate.keys import constraint_key, index_key
from dupe_audit.directives.autogenerate.partitions import DROPS, without_partitions
from dupe_audit.directives.autogenerate.rendering import WIDTH
from dupe_audit.errors import WrongUsage
from dupe_audit.model import UniqueKey

log = logging.getLogger("alembic.dupe_audit")

#: the option of ``context.configure()`` that turns this off
SETTING = "dupe_audit_autogenerate"

#: the schema of the ledger and its archives
LEDGER = "dupe_audit"

#: Alembic 1.18 and later order comparators by priority; before, they ran in the order of their registration
_LAST: dict[str, Any] = {"priority": util.DispatchPriority.LAST} if hasattr(util, "DispatchPriority") else {}


@comparators.dispatch_for("table", **_LAST)
def compare_indexes(
    context: AutogenContext,
    table: ops.ModifyTableOps,
    _schema: object,
    _name: object,
    existing: Table | None,
    declared: Table | None,
) -> None:
    """Compare the unique indexes of one table, after Alembic has done so."""
    # A new table and a dropped one are not existing tables, so their indexes need no directives.
    if existing is not None and declared is not None and _is_on(context):
        compare(context, table, existing, declared)


def _is_on(context: AutogenContext) -> bool:
    return context.migration_context.dialect.name == "postgresql" and bool(context.opts.get(SETTING, True))


@comparators.dispatch_for("schema", **_LAST)
def use_directives(context: AutogenContext, upgrade: ops.UpgradeOps, _schemas: object) -> None:
    """Replace each unique constraint or index that is added to an existing table, or dropped from it, by directives."""
    dialect = context.migration_context.dialect
    if dialect.name != "postgresql":
        return
    # No model has the ledger, so with include_schemas Alembic would drop it with every archive in it.
    upgrade.ops[:] = [operation for operation in upgrade.ops if getattr(operation, "schema", None) != LEDGER]
    if not context.opts.get(SETTING, True):
        return
    upgrade.ops[:] = without_partitions(context, upgrade.ops)
    operations: list[MigrateOperation] = []
    # A new table has its constraints inline, but not its indexes; neither it nor a dropped one needs directives.
    others = {(op.schema, op.table_name) for op in upgrade.ops if isinstance(op, ops.CreateTableOp | ops.DropTableOp)}
    for operation in upgrade.ops:
        if isinstance(operation, ops.ModifyTableOps) and (operation.schema, operation.table_name) not in others:
            operations += _with_directives(operation, context)
        else:
            operations.append(operation)
    dropped = ReferencedKeys.of(_dropped(operations), dialect.default_schema_name)
    created = ReferencedKeys.of(_created(operations), dialect.default_schema_name)
    upgrade.ops[:] = operations = list(ordered(operations, dropped=dropped, created=created))
    _warn_about_more_than_one_key(operations)


def _dropped(operations: Sequence[MigrateOperation]) -> Iterator[UniqueKey]:
    for operation in operations:
        if isinstance(operation, Swap):
            yield from (old.key for old in operation.old)
        elif isinstance(operation, Release | Replace):
            yield operation.key


def _created(operations: Sequence[MigrateOperation]) -> Iterator[UniqueKey]:
    for operation in operations:
        if isinstance(operation, Swap):
            yield from operation.new
        elif isinstance(operation, Enforce):
            yield operation.key


def _warn_about_more_than_one_key(operations: Sequence[MigrateOperation]) -> None:
    keys = list(_created(operations))
    # What a new key replaces belongs in its revision.
    replaced = [op for op in operations if isinstance(op, Replace) and [op.key.table] == [key.table for key in keys]]
    if len(keys) > 1 or (keys and len(operations) - len(replaced) > 1):
        log.warning(
            "This revision does more than enforce one unique key. Move each archive_duplicates(), with the directive "
            "that creates its constraint or index, to its own revision: they commit everything before them."
        )


def _with_directives(table: ops.ModifyTableOps, context: AutogenContext) -> Iterator[MigrateOperation]:
    """Yield the changes of the keys and the other changes of a table; the reverse is then in the right order too."""
    released: list[UniqueKey] = []
    unchanged: list[MigrateOperation] = []
    enforced: list[UniqueKey] = []
    for operation in table.ops:
        key = _key(operation, context)
        if isinstance(key, Remark):
            yield key
        if isinstance(key, UniqueKey):
            (released if isinstance(operation, DROPS) else enforced).append(key)
        else:
            unchanged.append(operation)
    yield from in_order(table, [spelled(context, key, enforced) for key in released], unchanged, enforced)


def _key(operation: MigrateOperation, context: AutogenContext) -> UniqueKey | Remark | None:
    """Return the key whose constraint or index is created or dropped; None for any other operation.

    Returns:
        A remark if one is created that the directives cannot express.
    """
    dialect = context.migration_context.dialect
    item = _unique(operation)
    if item is None:
        return None
    try:
        if isinstance(item, UniqueConstraint):
            return constraint_key(item, dialect)
        if isinstance(operation, ops.DropIndexOp):
            return index_key(item, dialect, reflected=True)
        return declared_key(context, item)
    except WrongUsage as error:
        remark = _remark(item.name, str(operation.table_name), f"The directives cannot create it: {error}")  # type: ignore[attr-defined]
        if isinstance(operation, ops.DropIndexOp):
            return Remark(reverse=remark)
        return None if isinstance(operation, ops.DropConstraintOp) else remark


def _unique(operation: MigrateOperation) -> UniqueConstraint | Index | None:
    """Return the unique constraint or index that is created or dropped."""
    if isinstance(operation, ops.CreateIndexOp | ops.DropIndexOp):
        index = operation.to_index()
        return index if index.unique else None
    if isinstance(operation, ops.CreateUniqueConstraintOp | ops.DropConstraintOp):
        constraint = operation.to_constraint() if operation.constraint_type == "unique" else None
        return constraint if isinstance(constraint, UniqueConstraint) else None
    return None


def _remark(name: object, table: str, reason: str) -> Remark:
    """Return a remark on a unique constraint or index that Alembic's own operation creates, and warn about it."""
    text = (
        f"Creating {name} blocks writes to {table} while the index is built, and fails at the first duplicate. "
        f"{reason} Or archive the duplicates first with archive_duplicates(), and build the index with "
        "postgresql_concurrently=True."
    )
    log.warning(text)
    return Remark(*textwrap.wrap(text, WIDTH - len("# ")))
