"""The uniqueness that SQLAlchemy models declare, in the words of the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint, make_url
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, UnaryExpression

from dupe_audit.model import MAX_IDENTIFIER

_ORDERED = {operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op}
#: SQL text that is a column and how it is ordered
_COLUMN = re.compile(r'\s*(?:"([^"]+)"|(\w+))(?:\s+(?:asc|desc|nulls|first|last))*\s*', re.IGNORECASE)
_DIALECT = make_url("postgresql+psycopg://").get_dialect()()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One primary key, unique constraint or unique index of a model."""

    kind: Literal["primary key", "constraint", "index"]
    names: frozenset[str]  #: how the database may call it; empty where any name will do
    columns: tuple[str | None, ...]  #: in order; None for an expression
    reads: frozenset[str] | None  #: columns that expressions read, None where that is not known
    include: frozenset[str]
    nulls_not_distinct: bool
    deferrable: bool
    deferred: bool
    predicate: str | None
    predicate_reads: frozenset[str]
    optional: bool  #: made in some databases only
    item: Any = field(compare=False, repr=False)  #: SQLAlchemy's own object

    def __str__(self) -> str:
        key = ", ".join("an expression" if column is None else column for column in self.columns)
        return f"{self.kind} {min(self.names, default='without a name')} ({key})"


def declared(table: Table) -> Iterator[Declared]:
    """Yield what makes rows of a table unique."""
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint) and len(constraint.columns):
            options = _options(constraint)
            deferred = (constraint.initially or "").upper() == "DEFERRED"
            primary = isinstance(constraint, PrimaryKeyConstraint)
            # Nobody names a primary key but to drop it, and Alembic lets the names differ, too.
            names = (
                () if primary else _names(constraint.name, _DIALECT.identifier_preparer.format_constraint, constraint)
            )
            yield Declared(
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
                optional=_made_sometimes(constraint),
                item=constraint,
            )
    yield from (_index(index) for index in table.indexes if index.unique)


def _index(index: Index) -> Declared:
    options = _options(index)
    where = options.get("where")
    columns = tuple(_plain(expression) for expression in index.expressions)
    reads = [_reads(one) for one, column in zip(index.expressions, columns, strict=True) if column is None]
    return Declared(
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
        optional=_made_sometimes(index),
        item=index,
    )


def _options(item: Any) -> dict[str, Any]:
    return dict(item.dialect_options["postgresql"])


def _made_sometimes(item: Any) -> bool:
    return getattr(item, "_ddl_if", None) is not None


def _names(name: Any, format_: Any, item: Any) -> frozenset[str]:
    """Return the name as it is and as SQLAlchemy writes it, cut as PostgreSQL cuts it."""
    if not isinstance(name, str):
        return frozenset()  # the database chooses
    try:
        written = format_(item).strip('"').replace('""', '"')
    except Exception:  # noqa: BLE001 - what SQLAlchemy refuses to write, such as a name that is too long
        written = name
    return frozenset(cut(one) for one in (name, str(written)))


def cut(name: str) -> str:
    """Return what PostgreSQL keeps of a name."""
    return name.encode()[:MAX_IDENTIFIER].decode(errors="ignore")


def _column_names(columns: Any) -> frozenset[str]:
    return frozenset(str(getattr(column, "name", column)) for column in columns or ())


def _plain(expression: Any) -> str | None:
    """Return the column that a part of an index is, apart from its order and collation; None for an expression."""
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
    found = _COLUMN.fullmatch(text) if text is not None else None
    return (found[1] or found[2].lower()) if found else None


def _text(expression: Any) -> str | None:
    """Return SQL that was given as text."""
    if expression.__visit_name__ == "textclause":
        return str(expression.text)
    return str(expression.name) if getattr(expression, "is_literal", False) else None


def _reads(expression: Any) -> frozenset[str] | None:
    """Return the columns that an expression reads, None where a part of it is text."""
    parts = list(visitors.iterate(expression))
    if any(_text(part) is not None for part in parts):
        return None
    return frozenset(str(part.name) for part in parts if isinstance(part, Column))


def _sql(expression: Any) -> str:
    if isinstance(expression, str):
        return expression
    try:
        return str(expression.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    except Exception:  # noqa: BLE001 - a type without literals; then nothing is known but that there is a predicate
        return ""
