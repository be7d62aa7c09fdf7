"""The operations that autogenerate writes, each with its reverse, and their text in a revision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from alembic.autogenerate import render_op_text, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, ops
from sqlalchemy.sql.elements import conv

from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.statements import ident

#: characters that a formatter allows on a line, less the indentation of a function
WIDTH = 84


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


class Release(OpSequence):
    """Drop a constraint that the models no longer have; duplicates can arrive then, so the reverse archives them.

    What that archives has to be restored when the constraint is dropped again.
    """

    def __init__(self, key: UniqueKey) -> None:
        super().__init__([DropUniqueConstraintOnlineOp(key, BuildRule()), RestoreDuplicatesOp(key)])
        self.key = key

    def reverse(self) -> MigrateOperation:
        """Return the operations that enforce the key again."""
        return Enforce(self.key)


class Replace(DropUniqueConstraintOnlineOp):
    """Drop a constraint whose place another one takes.

    Nothing is restored, because the other key may forbid the rows.
    """

    def __init__(self, key: UniqueKey, *, implied: bool = False) -> None:
        super().__init__(key, BuildRule())
        self.implied = (
            implied  #: the other key forbids every duplicate of this one, so the reverse need not archive any
        )

    def reverse(self) -> MigrateOperation:  # type: ignore[override] # Alembic renders any operation
        """Return the operations that enforce the key again."""
        return super().reverse() if self.implied else Enforce(self.key)


class Swap(OpSequence):
    """Drop constraints and create others that cannot exist beside them: of the same name, or over the same columns.

    Nothing is written between a drop and the create that follows it, so that both can be done in one statement. In the
    reverse, what the archive of a new key holds is restored last.
    """

    def __init__(self, old: Sequence[Replace], new: Sequence[UniqueKey]) -> None:
        super().__init__([*old, *map(Enforce, new)])
        self.old = tuple(old)
        self.new = tuple(new)

    def reverse(self) -> MigrateOperation:
        """Return the operations that enforce the old keys again."""
        drops = [DropUniqueConstraintOnlineOp(key, BuildRule()) for key in self.new]
        creates = [operation.reverse() for operation in self.old]
        return OpSequence([*drops, *creates, *map(RestoreDuplicatesOp, self.new)])


class RenameConstraint(MigrateOperation):
    """Change nothing of a constraint but its name."""

    def __init__(self, key: UniqueKey, name: str) -> None:
        self.key = key
        self.name = name

    def reverse(self) -> RenameConstraint:
        """Return the operation that gives the constraint its former name."""
        return RenameConstraint(replace(self.key, name=self.name), str(self.key.name))

    def to_diff_tuple(self) -> tuple[str, str | None, str]:
        """Return what ``alembic check`` prints."""
        return ("rename_constraint", self.key.name, self.name)


class Remark(OpSequence):
    """A comment on what follows in upgrade(), or, as the reverse of an empty one, in downgrade()."""

    def __init__(self, *lines: str, reverse: Remark | None = None) -> None:
        super().__init__()
        self.lines = lines
        self._reverse = reverse

    def reverse(self) -> Remark:
        """Return the remark for the other direction."""
        return self._reverse or Remark(reverse=self)


@renderers.dispatch_for(OpSequence)
def _render_sequence(context: AutogenContext, sequence: OpSequence) -> list[str]:
    return [render_op_text(context, operation) for operation in sequence.ops]


@renderers.dispatch_for(Release)
def _render_release(context: AutogenContext, release: Release) -> list[str]:
    drop, restore = (render_op_text(context, operation) for operation in release.ops)
    return [
        drop,
        "# Puts back the rows archived under this key, also by the revision that created it.",
        "# To keep them archived, remove this line.",
        restore,
    ]


@renderers.dispatch_for(RenameConstraint)
def _render_rename(context: AutogenContext, rename: RenameConstraint) -> str:
    key = rename.key
    table = ident(*filter(None, (key.schema, key.table)))
    sql = f"ALTER TABLE {table} RENAME CONSTRAINT {ident(str(key.name))} TO {ident(rename.name)}"
    return _call(context, "execute", [sql], {})


@renderers.dispatch_for(Remark)
def _render_remark(_context: AutogenContext, remark: Remark) -> list[str]:
    return [f"# {line}" for line in remark.lines]


@renderers.dispatch_for(ArchiveDuplicatesOp)
def _render_archive(context: AutogenContext, operation: ArchiveDuplicatesOp) -> str:
    key = operation.key
    options = {"schema": key.schema, "where": key.where, "nulls_not_distinct": key.nulls_not_distinct}
    return _call(context, "archive_duplicates", [key.table, key.columns], options)


@renderers.dispatch_for(RestoreDuplicatesOp)
def _render_restore(context: AutogenContext, operation: RestoreDuplicatesOp) -> str:
    key = operation.key
    return _call(context, "restore_duplicates", [key.table, key.columns], {"schema": key.schema, "where": key.where})


@renderers.dispatch_for(CreateUniqueConstraintOnlineOp)
def _render_create(context: AutogenContext, operation: CreateUniqueConstraintOnlineOp) -> str:
    key = operation.key
    options = {
        "schema": key.schema,
        "where": key.where,
        "nulls_not_distinct": key.nulls_not_distinct,
        "include": key.include,
        "deferrable": key.deferrable,
        "initially": "DEFERRED" if key.initially == "DEFERRED" else None,
    }
    return _call(context, f"create_unique_{key.form}_online", [key.name, key.table, key.columns], options)


@renderers.dispatch_for(DropUniqueConstraintOnlineOp)
def _render_drop(context: AutogenContext, operation: DropUniqueConstraintOnlineOp) -> str:
    key = operation.key
    return _call(context, f"drop_unique_{key.form}_online", [key.name, key.table], {"schema": key.schema})


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
    if isinstance(value, Expression):
        return f"sa.text({_python(value.sql, prefix)})"
    if not isinstance(value, str):
        return repr(value)
    text = repr(str(value))
    if text[0] == "'" and '"' not in text:
        text = f'"{text[1:-1]}"'
    return f"{prefix}f({text})" if isinstance(value, conv) else text
