"""The keys of SQLAlchemy's unique constraints and unique indexes, if the directives can create them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Index, TextClause, UniqueConstraint
from sqlalchemy.exc import IdentifierError
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ClauseElement, UnaryExpression, conv

from dupe_audit.directives.arguments import elements, predicate
from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression, UniqueKey
from dupe_audit.postgres.names import default_name

#: PostgreSQL's options that the directives support
_OF_CONSTRAINTS = {"nulls_not_distinct", "include"}
_OF_INDEXES = {*_OF_CONSTRAINTS, "where", "concurrently"}


def constraint_key(constraint: UniqueConstraint, dialect: Dialect) -> UniqueKey:
    """Return the key of a unique constraint.

    Raises:
        WrongUsage: the directives cannot create it.
    """
    options = _options(constraint, _OF_CONSTRAINTS)
    columns = tuple(str(column.name) for column in constraint.columns)
    return UniqueKey(
        table=str(constraint.table.name),
        columns=columns,
        schema=_schema(constraint),
        name=final_name(constraint, dialect) or default_name(str(constraint.table.name), columns, "key"),
        nulls_not_distinct=bool(options.get("nulls_not_distinct")),
        include=tuple(map(str, options.get("include", ()))),
        deferrable=bool(constraint.deferrable),
        initially="DEFERRED" if str(constraint.initially).upper() == "DEFERRED" else "IMMEDIATE",
    )


def index_key(index: Index, dialect: Dialect, *, reflected: bool = False) -> UniqueKey:
    """Return the key of a unique index.

    Args:
        reflected: it was read from the catalog, whose expressions are SQL as it is.

    Raises:
        WrongUsage: the directives cannot create it.
    """
    options = _options(index, _OF_INDEXES)
    table = index.table
    if table is None:
        raise WrongUsage("It belongs to no table.")
    expressions = [_without_order(expression) for expression in index.expressions]
    if reflected:
        columns = tuple(
            Expression(bare(expression.text)) if isinstance(expression, TextClause) else str(expression.name)
            for expression in expressions
        )
    else:
        columns = elements("The index", expressions)
    where = options.get("where")
    return UniqueKey(
        table=str(table.name),
        columns=columns,
        schema=_schema(index),
        where=bare(str(where)) if reflected and where is not None else predicate("postgresql_where", where),
        name=final_name(index, dialect),
        nulls_not_distinct=bool(options.get("nulls_not_distinct")),
        include=tuple(str(getattr(column, "name", column)) for column in options.get("include", ())),
        form="index",
    )


def final_name(item: UniqueConstraint | Index, dialect: Dialect) -> str | None:
    """Return the name that a constraint or an index gets in the database; None if it has none.

    A name from a naming convention is cut by SQLAlchemy where it is too long, and marked as final.
    """
    name = item.name
    if not isinstance(name, str):
        return None
    try:
        final = str(dialect.identifier_preparer.format_constraint(item, _alembic_quote=False))
    except IdentifierError:  # it is too long, and not from a convention
        return name
    return conv(final) if isinstance(name, conv) else final


def bare(sql: str) -> str:
    """Return SQL without the parentheses around all of it, with which the catalog prints most expressions."""
    while sql.startswith("(") and _closing(sql) == len(sql) - 1:
        sql = sql[1:-1].strip()
    return sql


def _closing(sql: str) -> int:
    """Return the position of the parenthesis that closes the first one; -1 without one."""
    depth, quote = 0, ""
    for position, character in enumerate(sql):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
            if not depth:
                return position
    return -1


def _options(item: UniqueConstraint | Index, supported: set[str]) -> dict[str, Any]:
    """Return the options of PostgreSQL that are set.

    Raises:
        WrongUsage: the directives do not support one of them.
    """
    options = {
        name: value
        for name, value in item.dialect_options["postgresql"].items()
        if isinstance(value, ClauseElement) or value
    }
    if str(options.get("using", "")).lower() == "btree":
        del options["using"]
    if unsupported := sorted(options.keys() - supported):
        raise WrongUsage(f"postgresql_{unsupported[0]} is not supported.")
    return options


def _schema(item: UniqueConstraint | Index) -> str | None:
    return str(item.table.schema) if item.table is not None and item.table.schema else None


def _without_order(expression: Any) -> Any:
    """Return an element of an index without the order that is the default, and as text if it is text to Alembic.

    Raises:
        WrongUsage: it has another order.
    """
    if isinstance(expression, UnaryExpression) and expression.modifier is operators.asc_op:
        expression = expression.element
    if isinstance(expression, UnaryExpression) and expression.modifier is not None:
        raise WrongUsage(f"A sort order, as in {expression}, is not supported.")
    text = getattr(expression, "text", None)
    return text if isinstance(text, TextClause) else expression
