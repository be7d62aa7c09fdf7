"""``alembic revision --autogenerate``: unique constraints on existing tables are written as directives, both ways.

The directives replace Alembic's operations after it has compared everything, so every filter of the project applies.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alembic import util
from alembic.autogenerate import comparators, render_op_text, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, ops
from sqlalchemy import UniqueConstraint
from sqlalchemy.sql.elements import conv

from dupe_audit.directives.foreign_keys import ReferencedKeys, ordered
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.errors import WrongUsage
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.names import default_name

log = logging.getLogger("alembic.dupe_audit")

#: the option of ``context.configure()`` that turns this off
SETTING = "dupe_audit_autogenerate"

#: the schema of the ledger and its archives
LEDGER = "dupe_audit"

#: characters that a formatter allows on a line, less the indentation of a function
WIDTH = 84

#: PostgreSQL's options of a unique constraint that the directives support
_SUPPORTED = {"nulls_not_distinct", "include"}

#: Alembic 1.18 and later order comparators by priority; before, they ran in the order of their registration
_LAST: dict[str, Any] = {"priority": util.DispatchPriority.LAST} if hasattr(util, "DispatchPriority") else {}


class OpSequence(ops.OpContainer):
    """Operations that stay together, in this order."""

    def reverse(self) -> MigrateOperation:
        """Return the operations that undo them, the last one first."""
        return OpSequence([operation.reverse() for operation in reversed(self.ops)])


class Enforce(OpSequence):
    """Archive the duplicates of a key, then create its constraint."""

    def __init__(self, key: UniqueKey) -> None:
        super().__init__([ArchiveDuplicatesOp(key, CleanupRule()), CreateUniqueConstraintOnlineOp(key, BuildRule())])
        self.key = key


class Release(DropUniqueConstraintOnlineOp):
    """Drop a constraint that the models no longer have; duplicates can arrive then, so the reverse archives them."""

    def reverse(self) -> MigrateOperation:  # type: ignore[override] # Alembic renders any operation
        """Return the operations that enforce the key again."""
        return Enforce(self.key)


@comparators.dispatch_for("schema", **_LAST)
def use_directives(context: AutogenContext, upgrade: ops.UpgradeOps, _schemas: object) -> None:
    """Replace each unique constraint that is added to an existing table, or dropped from it, by directives."""
    if context.migration_context.dialect.name != "postgresql":
        return
    # No model has the ledger, so with include_schemas Alembic would drop it with every archive in it.
    upgrade.ops[:] = [operation for operation in upgrade.ops if getattr(operation, "schema", None) != LEDGER]
    if not context.opts.get(SETTING, True):
        return
    operations: list[MigrateOperation] = []
    for operation in upgrade.ops:
        # A new table has its constraints inline, so a ModifyTableOps is always about an existing table.
        if isinstance(operation, ops.ModifyTableOps):
            operations += _with_directives(operation)
        else:
            operations.append(operation)
    default_schema = context.migration_context.dialect.default_schema_name
    dropped = ReferencedKeys.of((op.key for op in operations if isinstance(op, Release)), default_schema)
    created = ReferencedKeys.of((op.key for op in operations if isinstance(op, Enforce)), default_schema)
    upgrade.ops[:] = operations = list(ordered(operations, dropped=dropped, created=created))
    if len(operations) > 1 and any(isinstance(operation, Enforce) for operation in operations):
        log.warning(
            "This revision does more than enforce one unique key. Move each archive_duplicates() with its "
            "create_unique_constraint_online() to its own revision: they commit everything before them."
        )


def _with_directives(table: ops.ModifyTableOps) -> Iterator[MigrateOperation]:
    """Yield dropped keys, the other changes of the table, and new keys; the reverse is then in the right order too."""
    released: list[MigrateOperation] = []
    unchanged: list[MigrateOperation] = []
    enforced: list[MigrateOperation] = []
    for operation in table.ops:
        key = _key(operation)
        if key is None:
            unchanged.append(operation)
        elif isinstance(operation, ops.DropConstraintOp):
            released.append(Release(key, BuildRule()))
        else:
            enforced.append(Enforce(key))
    table.ops[:] = unchanged
    yield from released
    if unchanged:
        yield table
    yield from enforced


def _key(operation: MigrateOperation) -> UniqueKey | None:
    """Return the key whose constraint is created or dropped; None if the directives cannot express the operation."""
    if not isinstance(operation, ops.CreateUniqueConstraintOp | ops.DropConstraintOp):
        return None
    constraint = operation.to_constraint() if operation.constraint_type == "unique" else None
    if not isinstance(constraint, UniqueConstraint):
        return None
    options = {name: value for name, value in constraint.dialect_options["postgresql"].items() if value}
    if not options.keys() <= _SUPPORTED:
        return None
    table, columns = constraint.table, tuple(str(column.name) for column in constraint.columns)
    name = constraint.name
    try:
        return UniqueKey(
            table=str(table.name),
            columns=columns,
            schema=str(table.schema) if table.schema else None,
            name=name if isinstance(name, str) else default_name(str(table.name), columns, "key"),
            nulls_not_distinct=bool(options.get("nulls_not_distinct")),
            include=tuple(map(str, options.get("include", ()))),
            deferrable=bool(constraint.deferrable),
            initially="DEFERRED" if str(constraint.initially).upper() == "DEFERRED" else "IMMEDIATE",
        )
    except WrongUsage:
        return None


@renderers.dispatch_for(OpSequence)
def _render_sequence(context: AutogenContext, sequence: OpSequence) -> list[str]:
    return [render_op_text(context, operation) for operation in sequence.ops]


@renderers.dispatch_for(ArchiveDuplicatesOp)
def _render_archive(context: AutogenContext, operation: ArchiveDuplicatesOp) -> str:
    key = operation.key
    options = {"schema": key.schema, "nulls_not_distinct": key.nulls_not_distinct}
    return _call(context, "archive_duplicates", [key.table, key.columns], options)


@renderers.dispatch_for(RestoreDuplicatesOp)
def _render_restore(context: AutogenContext, operation: RestoreDuplicatesOp) -> str:
    key = operation.key
    return _call(context, "restore_duplicates", [key.table, key.columns], {"schema": key.schema})


@renderers.dispatch_for(CreateUniqueConstraintOnlineOp)
def _render_create(context: AutogenContext, operation: CreateUniqueConstraintOnlineOp) -> str:
    key = operation.key
    options = {
        "schema": key.schema,
        "nulls_not_distinct": key.nulls_not_distinct,
        "include": key.include,
        "deferrable": key.deferrable,
        "initially": "DEFERRED" if key.initially == "DEFERRED" else None,
    }
    return _call(context, "create_unique_constraint_online", [key.name, key.table, key.columns], options)


@renderers.dispatch_for(DropUniqueConstraintOnlineOp)
def _render_drop(context: AutogenContext, operation: DropUniqueConstraintOnlineOp) -> str:
    key = operation.key
    return _call(context, "drop_unique_constraint_online", [key.name, key.table], {"schema": key.schema})


def _call(context: AutogenContext, directive: str, positional: Iterable[object], options: Mapping[str, object]) -> str:
    """Return a call as a formatter would lay it out: on one line, or with one argument per line."""
    prefix = str(context.opts.get("alembic_module_prefix") or "")
    arguments = [("", value) for value in positional]
    arguments += [(f"{name}=", value) for name, value in options.items() if value]
    line = f"{prefix}{directive}({', '.join(name + _python(value, prefix) for name, value in arguments)})"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"    {_argument(name, value, prefix)},\n" for name, value in arguments)
    return f"{prefix}{directive}(\n{lines})"


def _argument(name: str, value: object, prefix: str) -> str:
    line = f"{name}{_python(value, prefix)}"
    if len(line) <= WIDTH - len("    ,") or not isinstance(value, tuple):
        return line
    lines = "".join(f"        {_python(item, prefix)},\n" for item in value)
    return f"{name}[\n{lines}    ]"


def _python(value: object, prefix: str) -> str:
    """Return a value as Python; a name from a naming convention is marked as final by ``op.f``, as Alembic does."""
    if isinstance(value, tuple):
        return f"[{', '.join(_python(item, prefix) for item in value)}]"
    if not isinstance(value, str):
        return repr(value)
    text = repr(str(value))
    if text[0] == "'" and '"' not in text:
        text = f'"{text[1:-1]}"'
    return f"{prefix}f({text})" if isinstance(value, conv) else text
