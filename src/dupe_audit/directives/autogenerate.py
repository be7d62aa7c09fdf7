"""``alembic revision --autogenerate``: uniqueness on a table that is there is written as directives, both ways.

What Alembic found is taken up after it has compared everything, so every filter of the project has had its say.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alembic import util
from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, ops
from sqlalchemy.sql.elements import conv

from dupe_audit.directives.foreign_keys import Referenced, ordered
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

#: the setting of ``context.configure()`` that turns this off
SETTING = "dupe_audit_autogenerate"

#: the schema of the ledger and its archives
LEDGER = "dupe_audit"

#: what a formatter lets stand on one line, less the indentation of a function
WIDTH = 84

#: what of a constraint the directives can say
_KNOWN = {"deferrable", "initially", "postgresql_nulls_not_distinct", "postgresql_include"}

#: Alembic 1.18 and later order comparators by priority; before, they ran in the order of their registration
_LAST: dict[str, Any] = {"priority": util.DispatchPriority.LAST} if hasattr(util, "DispatchPriority") else {}


class Together(ops.OpContainer):
    """Operations that belong together, in their order."""

    def reverse(self) -> MigrateOperation:
        """Return the operations that undo them, the last one first."""
        return Together([one.reverse() for one in reversed(self.ops)])


class Enforce(Together):
    """Archive the duplicates of a key, and make it a constraint."""

    def __init__(self, key: UniqueKey) -> None:
        super().__init__([ArchiveDuplicatesOp(key, CleanupRule()), CreateUniqueConstraintOnlineOp(key, BuildRule())])
        self.key = key


class Release(DropUniqueConstraintOnlineOp):
    """Drop a constraint that the models no longer have. Duplicates may come then, so the way back archives them."""

    def reverse(self) -> MigrateOperation:  # type: ignore[override] # Alembic renders whatever it is
        """Return the operations that enforce the key again."""
        return Enforce(self.key)


@comparators.dispatch_for("schema", **_LAST)
def use_directives(context: AutogenContext, upgrade: ops.UpgradeOps, _schemas: object) -> None:
    """Put directives in the place of each unique constraint that comes to a table that is there, or leaves it."""
    if context.migration_context.dialect.name != "postgresql":
        return
    # With include_schemas, no model has the ledger, and Alembic would drop it with every archive in it.
    upgrade.ops[:] = [one for one in upgrade.ops if getattr(one, "schema", None) != LEDGER]
    if not context.opts.get(SETTING, True):
        return
    written: list[MigrateOperation] = []
    for one in upgrade.ops:
        # A new table has its constraints inline, so what modifies one is about a table that is there.
        if isinstance(one, ops.ModifyTableOps):
            written += _rewritten(one)
        else:
            written.append(one)
    default = context.migration_context.dialect.default_schema_name
    leaving = Referenced.by((one.key for one in written if isinstance(one, Release)), default)
    coming = Referenced.by((one.key for one in written if isinstance(one, Enforce)), default)
    upgrade.ops[:] = written = list(ordered(written, leaving=leaving, coming=coming))
    ours = sum(isinstance(one, Enforce) for one in written)
    if ours and len(written) > 1:
        log.warning(
            "This is more than one key of one table. Give each archive_duplicates() with its "
            "create_unique_constraint_online() a revision of its own: they commit what comes before them."
        )


def _rewritten(table: ops.ModifyTableOps) -> Iterator[MigrateOperation]:
    """Yield what leaves, the rest of the table's changes, and what comes; so that the way back is in order too."""
    leaving, rest, coming = [], [], []
    for one in table.ops:
        unique: MigrateOperation | None = None
        if isinstance(one, ops.DropConstraintOp) and one.constraint_type == "unique":
            unique = one.reverse()
        elif isinstance(one, ops.CreateUniqueConstraintOp):
            unique = one
        key = _key(unique) if isinstance(unique, ops.CreateUniqueConstraintOp) else None
        if key is None:
            rest.append(one)
        elif unique is one:
            coming.append(Enforce(key))
        else:
            leaving.append(Release(key, BuildRule()))
    table.ops[:] = rest
    yield from leaving
    if rest:
        yield table
    yield from coming


def _key(unique: ops.CreateUniqueConstraintOp) -> UniqueKey | None:
    """Return the key, or None where it has something that the directives cannot say."""
    others = tuple(f"{dialect}_" for dialect in ("sqlite", "mysql", "mariadb", "mssql", "oracle"))
    said = {name: value for name, value in unique.kw.items() if value and not name.startswith(others)}
    if not said.keys() <= _KNOWN:
        return None
    columns = tuple(map(str, unique.columns))
    name = unique.constraint_name
    try:
        return UniqueKey(
            table=str(unique.table_name),
            columns=columns,
            schema=str(unique.schema) if unique.schema else None,
            name=name if isinstance(name, str) else default_name(str(unique.table_name), columns, "key"),
            nulls_not_distinct=bool(said.get("postgresql_nulls_not_distinct")),
            include=tuple(map(str, said.get("postgresql_include", ()))),
            deferrable=bool(said.get("deferrable")),
            initially="DEFERRED" if str(said.get("initially", "")).upper() == "DEFERRED" else "IMMEDIATE",
        )
    except WrongUsage:
        return None


@renderers.dispatch_for(Together)
def _render_together(context: AutogenContext, container: Together) -> list[str]:
    return [line for one in container.ops for line in util.to_list(renderers.dispatch(one)(context, one))]


@renderers.dispatch_for(ArchiveDuplicatesOp)
def _render_archive(context: AutogenContext, one: ArchiveDuplicatesOp) -> str:
    key = one.key
    told = {"schema": key.schema, "nulls_not_distinct": key.nulls_not_distinct}
    return _call(context, "archive_duplicates", [key.table, key.columns], told)


@renderers.dispatch_for(RestoreDuplicatesOp)
def _render_restore(context: AutogenContext, one: RestoreDuplicatesOp) -> str:
    return _call(context, "restore_duplicates", [one.key.table, one.key.columns], {"schema": one.key.schema})


@renderers.dispatch_for(CreateUniqueConstraintOnlineOp)
def _render_create(context: AutogenContext, one: CreateUniqueConstraintOnlineOp) -> str:
    key = one.key
    told = {
        "schema": key.schema,
        "nulls_not_distinct": key.nulls_not_distinct,
        "include": key.include,
        "deferrable": key.deferrable,
        "initially": "DEFERRED" if key.initially == "DEFERRED" else None,
    }
    return _call(context, "create_unique_constraint_online", [key.name, key.table, key.columns], told)


@renderers.dispatch_for(DropUniqueConstraintOnlineOp)
def _render_drop(context: AutogenContext, one: DropUniqueConstraintOnlineOp) -> str:
    return _call(context, "drop_unique_constraint_online", [one.key.name, one.key.table], {"schema": one.key.schema})


def _call(context: AutogenContext, directive: str, positional: Iterable[object], named: Mapping[str, object]) -> str:
    """Return a call as a formatter would leave it: on one line, or one argument a line."""
    prefix = str(context.opts.get("alembic_module_prefix") or "")
    arguments = [("", value) for value in positional]
    arguments += [(f"{name}=", value) for name, value in named.items() if value]
    line = f"{prefix}{directive}({', '.join(name + _written(value, prefix) for name, value in arguments)})"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"    {_fitted(name, value, prefix)},\n" for name, value in arguments)
    return f"{prefix}{directive}(\n{lines})"


def _fitted(name: str, value: object, prefix: str) -> str:
    line = f"{name}{_written(value, prefix)}"
    if len(line) <= WIDTH - len("    ,") or not isinstance(value, tuple):
        return line
    lines = "".join(f"        {_written(one, prefix)},\n" for one in value)
    return f"{name}[\n{lines}    ]"


def _written(value: object, prefix: str) -> str:
    """Return a value as Python; a name that follows a naming convention is said to be final, as Alembic does."""
    if isinstance(value, tuple):
        return f"[{', '.join(_written(one, prefix) for one in value)}]"
    if not isinstance(value, str):
        return repr(value)
    text = repr(str(value))
    if text[0] == "'" and '"' not in text:
        text = f'"{text[1:-1]}"'
    return f"{prefix}f({text})" if isinstance(value, conv) else text
