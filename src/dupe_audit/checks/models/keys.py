"""The keys that SQLAlchemy models declare, described as the catalog describes indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint, make_url
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, UnaryExpression

from dupe_audit.model import MAX_IDENTIFIER
from dupe_audit.postgres.names import truncate_name

_ORDERED = {operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op}
#: SQL text that is one column and its order
_COLUMN = re.compile(r'\s*(?:"([^"]+)"|(\w+))(?:\s+(?:asc|desc|nulls|first|last))*\s*', re.IGNORECASE)
_DIALECT = make_url("postgresql+psycopg://").get_dialect()()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKey:
    """One primary key, unique constraint or unique index of a model."""

    kind: Literal["primary key", "constraint", "index"]
    names: frozenset[str]  #: its possible names in the database; empty if any name will do
    columns: tuple[str | None, ...]  #: in order; None for an expression
    reads: frozenset[str] | None  #: columns that its expressions read; None if unknown
    include: frozenset[str]
    nulls_not_distinct: bool
    deferrable: bool
    deferred: bool
    predicate: str | None
    predicate_reads: frozenset[str]
    optional: bool  #: created only in some databases
    item: Any = field(compare=False, repr=False)  #: SQLAlchemy's constraint or index

    def __str__(self) -> str:
        key = ", ".join("an expression" if column is None else column for column in self.columns)
        return f"{self.kind} {min(self.names, default='without a name')} ({key})"


def keys_of(table: Table) -> Iterator[ModelKey]:
    """Yield the primary key, unique constraints and unique indexes of a model's table."""
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint) and len(constraint.columns):
            options = _options(constraint)
            deferred = (constraint.initially or "").upper() == "DEFERRED"
            primary = isinstance(constraint, PrimaryKeyConstraint)
            # The name of a primary key matters only for dropping it, and Alembic does not compare it either.
            names = (
                () if primary else _names(constraint.name, _DIALECT.identifier_preparer.format_constraint, constraint)
            )
            yield ModelKey(
                kind="primary key" if primary else "constraint",
                names=frozenset(names),
                columns=tuple(str(column.name) for column in constraint.columns),
                reads=frozenset(),
                include=_column_names(options.get("include")),
                nulls_not_distinct=bool(options.get("nulls_not_distinct")),
                deferrable=deferred or bool(constraint.deferrable),
                deferred=deferred,
                predicate=None,
                predicate_reads=frozenset(),
                optional=_is_conditional(constraint),
                item=constraint,
            )
    yield from (_index(index) for index in table.indexes if index.unique)


def _index(index: Index) -> ModelKey:
    options = _options(index)
    where = options.get("where")
    columns = tuple(_column(expression) for expression in index.expressions)
    reads = [
        _reads(expression) for expression, column in zip(index.expressions, columns, strict=True) if column is None
    ]
    return ModelKey(
        kind="index",
        names=_names(index.name, _DIALECT.identifier_preparer.format_index, index),
        columns=columns,
        reads=None if None in reads else frozenset(name for names in reads for name in names or ()),
        include=_column_names(options.get("include")),
        nulls_not_distinct=bool(options.get("nulls_not_distinct")),
        deferrable=False,
        deferred=False,
        predicate=None if where is None else _sql(where),
        predicate_reads=frozenset() if where is None else _reads(where) or frozenset(),
        optional=_is_conditional(index),
        item=index,
    )


def _options(item: Any) -> dict[str, Any]:
    return dict(item.dialect_options["postgresql"])


def _is_conditional(item: Any) -> bool:
    return getattr(item, "_ddl_if", None) is not None


def _names(name: Any, format_: Any, item: Any) -> frozenset[str]:
    """Return the name as declared and as SQLAlchemy writes it, both truncated as PostgreSQL does."""
    if not isinstance(name, str):
        return frozenset()  # the database chooses the name
    try:
        written = format_(item).strip('"').replace('""', '"')
    except Exception:  # noqa: BLE001 - SQLAlchemy refuses, for example a name that is too long
        written = name
    return frozenset(truncate_name(variant, MAX_IDENTIFIER) for variant in (name, str(written)))


def _column_names(columns: Any) -> frozenset[str]:
    return frozenset(str(getattr(column, "name", column)) for column in columns or ())


def _column(expression: Any) -> str | None:
    """Return the column of an index element, whatever its order and collation; None for an expression."""
    while True:
        if isinstance(expression, UnaryExpression) and expression.modifier in _ORDERED:
            expression = expression.element
        elif isinstance(expression, BinaryExpression) and expression.operator is operators.collate:
            expression = expression.left
        else:
            break
    if isinstance(expression, Column):
        return str(expression.name)
    text = _text(expression)
    match = _COLUMN.fullmatch(text) if text is not None else None
    return (match[1] or match[2].lower()) if match else None


def _text(expression: Any) -> str | None:
    """Return the SQL of an expression that is plain text; None for any other."""
    if expression.__visit_name__ == "textclause":
        return str(expression.text)
    return str(expression.name) if getattr(expression, "is_literal", False) else None


def _reads(expression: Any) -> frozenset[str] | None:
    """Return the columns that an expression reads; None if a part of it is text."""
    parts = list(visitors.iterate(expression))
    if any(_text(part) is not None for part in parts):
        return None
    return frozenset(str(part.name) for part in parts if isinstance(part, Column))


def _sql(expression: Any) -> str:
    if isinstance(expression, str):
        return expression
    try:
        return str(expression.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    except Exception:  # noqa: BLE001 - a type without literals; only the existence of a predicate is known
        return ""
