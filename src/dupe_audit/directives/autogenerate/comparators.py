"""``alembic revision --autogenerate``: unique constraints on existing tables are written as directives, both ways.

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
from sqlalchemy import Dialect, UniqueConstraint
from sqlalchemy.exc import IdentifierError
from sqlalchemy.sql.elements import conv

from dupe_audit.directives.autogenerate.foreign_keys import ReferencedKeys, ordered
from dupe_audit.directives.autogenerate.generated import WIDTH, Enforce, Release, Remark, Replace, Swap
from dupe_audit.directives.autogenerate.key_changes import in_order
from dupe_audit.errors import WrongUsage
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.names import default_name

log = logging.getLogger("alembic.dupe_audit")

#: the option of ``context.configure()`` that turns this off
SETTING = "dupe_audit_autogenerate"

#: the schema of the ledger and its archives
LEDGER = "dupe_audit"

#: PostgreSQL's options of a unique constraint that the directives support
_SUPPORTED = {"nulls_not_distinct", "include"}

_NOT_AN_INDEX = (
    "Declare a unique constraint instead of a unique index (Column(unique=True, index=True) is an index), and it is "
    "written as directives, which do neither."
)

#: Alembic 1.18 and later order comparators by priority; before, they ran in the order of their registration
_LAST: dict[str, Any] = {"priority": util.DispatchPriority.LAST} if hasattr(util, "DispatchPriority") else {}


@comparators.dispatch_for("schema", **_LAST)
def use_directives(context: AutogenContext, upgrade: ops.UpgradeOps, _schemas: object) -> None:
    """Replace each unique constraint that is added to an existing table, or dropped from it, by directives."""
    dialect = context.migration_context.dialect
    if dialect.name != "postgresql":
        return
    # No model has the ledger, so with include_schemas Alembic would drop it with every archive in it.
    upgrade.ops[:] = [operation for operation in upgrade.ops if getattr(operation, "schema", None) != LEDGER]
    if not context.opts.get(SETTING, True):
        return
    operations: list[MigrateOperation] = []
    for operation in upgrade.ops:
        # A new table has its constraints inline, so a ModifyTableOps is always about an existing table.
        if isinstance(operation, ops.ModifyTableOps):
            operations += _with_directives(operation, dialect)
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
            "This revision does more than enforce one unique key. Move each archive_duplicates() with its "
            "create_unique_constraint_online() to its own revision: they commit everything before them."
        )


def _with_directives(table: ops.ModifyTableOps, dialect: Dialect) -> Iterator[MigrateOperation]:
    """Yield the changes of the keys and the other changes of a table; the reverse is then in the right order too."""
    released: list[UniqueKey] = []
    unchanged: list[MigrateOperation] = []
    enforced: list[UniqueKey] = []
    for operation in table.ops:
        key = _key(operation, dialect)
        if isinstance(key, Remark) or (key is None and (key := _remark_on_index(operation))):
            yield key
        if isinstance(key, UniqueKey):
            (released if isinstance(operation, ops.DropConstraintOp) else enforced).append(key)
        else:
            unchanged.append(operation)
    yield from in_order(table, released, unchanged, enforced)


def _key(operation: MigrateOperation, dialect: Dialect) -> UniqueKey | Remark | None:
    """Return the key whose constraint is created or dropped; None if the operation is about something else.

    Returns:
        A remark if a constraint is created that the directives cannot express.
    """
    if not isinstance(operation, ops.CreateUniqueConstraintOp | ops.DropConstraintOp):
        return None
    constraint = operation.to_constraint() if operation.constraint_type == "unique" else None
    if not isinstance(constraint, UniqueConstraint):
        return None
    try:
        return _unique_key(constraint, dialect)
    except WrongUsage as error:
        if isinstance(operation, ops.DropConstraintOp):
            return None
        return _remark(constraint.name, str(constraint.table.name), f"The directives cannot create it: {error}")


def _unique_key(constraint: UniqueConstraint, dialect: Dialect) -> UniqueKey:
    """Return the key of a constraint.

    Raises:
        WrongUsage: the directives cannot express it.
    """
    options = {name: value for name, value in constraint.dialect_options["postgresql"].items() if value}
    if unsupported := sorted(options.keys() - _SUPPORTED):
        raise WrongUsage(f"postgresql_{unsupported[0]} is not supported.")
    return UniqueKey(
        table=str(constraint.table.name),
        columns=tuple(str(column.name) for column in constraint.columns),
        schema=str(constraint.table.schema) if constraint.table.schema else None,
        name=_name(constraint, dialect),
        nulls_not_distinct=bool(options.get("nulls_not_distinct")),
        include=tuple(map(str, options.get("include", ()))),
        deferrable=bool(constraint.deferrable),
        initially="DEFERRED" if str(constraint.initially).upper() == "DEFERRED" else "IMMEDIATE",
    )


def _name(constraint: UniqueConstraint, dialect: Dialect) -> str:
    """Return the name that the constraint gets in the database.

    A name from a naming convention is cut by SQLAlchemy where it is too long, and marked as final.
    """
    name = constraint.name
    if not isinstance(name, str):
        columns = [str(column.name) for column in constraint.columns]
        return default_name(str(constraint.table.name), columns, "key")
    try:
        final = str(dialect.identifier_preparer.format_constraint(constraint, _alembic_quote=False))
    except IdentifierError:  # it is too long, and not from a convention
        return name
    return conv(final) if isinstance(name, conv) else final


def _remark_on_index(operation: MigrateOperation) -> Remark | None:
    """Return a remark if the operation, or its reverse, creates a unique index: the directives create constraints."""
    if isinstance(operation, ops.CreateIndexOp) and operation.unique:
        return _remark(operation.index_name, str(operation.table_name), _NOT_AN_INDEX)
    if isinstance(operation, ops.DropIndexOp) and (index := operation.to_index()).unique:
        return Remark(reverse=_remark(index.name, str(operation.table_name), _NOT_AN_INDEX))
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
