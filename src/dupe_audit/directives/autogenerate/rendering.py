"""The text of the generated operations in a revision, laid out as by a formatter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from alembic.autogenerate import render_op_text, renderers
from alembic.autogenerate.api import AutogenContext
from sqlalchemy.sql.elements import conv

from dupe_audit.directives.arguments import escaped
from dupe_audit.directives.autogenerate.generated import OpSequence, Release, Remark, RenameConstraint
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.model import LOCK_TIMEOUT, Expression, Schemas
from dupe_audit.statements import ident, literal

#: characters that a formatter allows on a line, less the indentation of a function
WIDTH = 84


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
def _render_rename(context: AutogenContext, rename: RenameConstraint) -> list[str]:
    key, new = rename.key, ident(rename.name)
    if key.form == "index":
        sql = f"ALTER INDEX {ident(*filter(None, (key.schema, str(key.name))))} RENAME TO {new}"
    else:
        table = ident(*filter(None, (key.schema, key.table)))
        sql = f"ALTER TABLE {table} RENAME CONSTRAINT {ident(str(key.name))} TO {new}"
    # For the rest of the transaction: while it holds the exclusive lock, its later statements must not wait longer for
    # other sessions either.
    limit = f"SET LOCAL lock_timeout = {literal(LOCK_TIMEOUT)}"
    return [_call(context, "execute", [escaped(statement)], {}) for statement in (limit, sql)]


@renderers.dispatch_for(Remark)
def _render_remark(_context: AutogenContext, remark: Remark) -> list[str]:
    return [f"# {line}" for line in remark.lines]


@renderers.dispatch_for(ArchiveDuplicatesOp)
def _render_archive(context: AutogenContext, operation: ArchiveDuplicatesOp) -> str:
    key = operation.key
    options = {
        "schema": key.schema,
        "schemas": operation.schemas,
        "where": key.where,
        "nulls_not_distinct": key.nulls_not_distinct,
    }
    return _call(context, "archive_duplicates", [key.table, key.columns], options)


@renderers.dispatch_for(RestoreDuplicatesOp)
def _render_restore(context: AutogenContext, operation: RestoreDuplicatesOp) -> str:
    key = operation.key
    return _call(
        context,
        "restore_duplicates",
        [key.table, key.columns],
        {"schema": key.schema, "schemas": operation.schemas, "where": key.where},
    )


@renderers.dispatch_for(CreateUniqueConstraintOnlineOp)
def _render_create(context: AutogenContext, operation: CreateUniqueConstraintOnlineOp) -> str:
    key = operation.key
    options = {
        "schema": key.schema,
        "schemas": operation.schemas,
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
    return _call(
        context,
        f"drop_unique_{key.form}_online",
        [key.name, key.table],
        {"schema": key.schema, "schemas": operation.schemas},
    )


def _call(context: AutogenContext, directive: str, positional: Iterable[object], options: Mapping[str, object]) -> str:
    """Return a call as a formatter would lay it out: on one line, or with one argument per line."""
    python = partial(_python, context)
    arguments = [("", value) for value in positional]
    arguments += [(f"{name}=", value) for name, value in options.items() if value]
    called = f"{context.opts.get('alembic_module_prefix') or ''}{directive}"
    line = f"{called}({', '.join(name + python(value) for name, value in arguments)})"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"    {_argument(name, value, python)},\n" for name, value in arguments)
    return f"{called}(\n{lines})"


def _argument(name: str, value: object, python: Callable[[object], str]) -> str:
    line = f"{name}{python(value)}"
    if len(line) <= WIDTH - len("    ,") or not isinstance(value, tuple):
        return line
    lines = "".join(f"        {_item(item, python)},\n" for item in value)
    return f"{name}[\n{lines}    ]"


def _item(value: object, python: Callable[[object], str]) -> str:
    line = python(value)
    if len(line) <= WIDTH - len("        ,") or not isinstance(value, Expression):
        return line
    called, text = line.removesuffix(")").split("(", 1)
    return f"{called}(\n            {text}\n        )"


def _python(context: AutogenContext, value: object) -> str:
    """Return a value as Python; a name from a naming convention is marked as final by ``op.f``, as Alembic does."""
    if isinstance(value, Schemas):
        value = Expression(value.query) if value.query else value.names
    if isinstance(value, tuple):
        return f"[{', '.join(_python(context, item) for item in value)}]"
    if isinstance(value, Expression):
        return f"{context.opts.get('sqlalchemy_module_prefix') or ''}text({_quoted(escaped(value.sql))})"
    if not isinstance(value, str):
        return repr(value)
    text = _quoted(value)
    return f"{context.opts.get('alembic_module_prefix') or ''}f({text})" if isinstance(value, conv) else text


def _quoted(text: str) -> str:
    """Return a text as Python, in the quotes that a formatter prefers."""
    python = repr(str(text))
    if python[0] == "'" and '"' not in python:
        python = f'"{python[1:-1]}"'
    return python
