"""Read the arguments of directives: names, elements of a key or an order, and predicates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from sqlalchemy import BindParameter, ColumnClause, ColumnElement, TextClause
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import CompileError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.visitors import iterate

from dupe_audit.errors import WrongUsage
from dupe_audit.findings import without_addresses
from dupe_audit.model import Expression, Schemas

#: a column's name, or an expression such as ``sa.text("lower(email)")``
Element: TypeAlias = str | ColumnElement[Any] | TextClause

#: SQL for the rows that a key covers
Predicate: TypeAlias = str | ColumnElement[Any] | TextClause | None

#: names of schemas, or a query that returns them
ManySchemas: TypeAlias = Sequence[str] | ClauseElement | None


def column_names(option: str, columns: object) -> tuple[str, ...]:
    """Return column names as a tuple; a bare string is one column, not its letters.

    Raises:
        WrongUsage: it is not a sequence of strings.
    """
    if isinstance(columns, str):
        return (columns,)
    if not isinstance(columns, Sequence) or isinstance(columns, (bytes, bytearray)):
        raise WrongUsage(f"{option} must be a list of column names, not {described(columns)}.")
    for column in columns:
        if not isinstance(column, str):
            raise WrongUsage(f"{option} must be a list of column names; {described(column)} is not a name.")
    return tuple(columns)


def plain_columns(columns: object) -> tuple[str, ...]:
    """Return the columns of a constraint.

    Raises:
        WrongUsage: one is an expression, which only an index can have.
    """
    names = elements("columns", columns)
    for element in names:
        if isinstance(element, Expression):
            raise WrongUsage(
                f"A unique constraint compares columns, and {element} is an expression. "
                "Use op.create_unique_index_online(), which takes the same arguments."
            )
    return tuple(map(str, names))


def elements(option: str, values: object) -> tuple[str | Expression, ...]:
    """Return names of columns and expressions as a tuple; a single value counts as a list of one.

    Raises:
        WrongUsage: it contains anything else, or an expression with a bound parameter.
    """
    values = _clause(values)
    if isinstance(values, str | ClauseElement):
        values = (values,)
    if not isinstance(values, Sequence) or isinstance(values, (bytes, bytearray)):
        raise WrongUsage(f"{option} must be a list of column names and sa.text(…), not {described(values)}.")
    return tuple(_element(option, _clause(value)) for value in values)


def _clause(value: object) -> object:
    """Return the column of an attribute of a mapped class, such as ``User.email``; anything else unchanged."""
    clause = None if isinstance(value, type) else getattr(value, "__clause_element__", None)
    return clause() if clause else value


def _element(option: str, value: object) -> str | Expression:
    if isinstance(value, str):
        return value
    if isinstance(value, ColumnClause) and not value.is_literal:  # literal_column() is SQL
        return str(value.name)
    if isinstance(value, ClauseElement):
        text = sql_of(option, value)
        if re.fullmatch(r"[a-z_][a-z0-9_$]*", text) and text not in _KEYWORDS:
            return text  # the name of a column, which the catalog records as one
        return Expression(text)
    raise WrongUsage(
        f"{option} must be a list of column names and sa.text(…); {described(value)} is neither. "
        "Write an expression as sa.text('lower(email)')."
    )


#: expressions that look like the name of a column
_KEYWORDS = {
    *("true", "false", "null"),
    *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
    *("current_catalog", "current_role", "current_schema", "current_user", "session_user", "system_user", "user"),
}


def predicate(option: str, value: object) -> str | None:
    """Return a predicate as SQL; None stays None.

    Raises:
        WrongUsage: it is neither text nor an expression, or it has a bound parameter.
    """
    value = _clause(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, ClauseElement):
        return sql_of(option, value)
    by_python = " Python itself evaluated the condition: write it as SQL." if isinstance(value, bool) else ""
    raise WrongUsage(f"{option} must be SQL, such as 'deleted_at IS NULL', not {described(value)}.{by_python}")


def many_schemas(value: object, schema: str | None) -> Schemas | None:
    """Return the schemas of a directive; None if it is about a single table.

    Args:
        value: a list of names, or a query as ``sa.text(…)``.
        schema: the argument for a single table, which excludes *value*.

    Raises:
        WrongUsage: it is neither, both arguments are given, or names are none, repeated or impossible.
    """
    if value is None:
        return None
    if schema is not None:
        raise WrongUsage("schema and schemas cannot be given together. schemas names every schema, one of them too.")
    if isinstance(value, ClauseElement):
        return Schemas(query=sql_of("schemas", value))
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        raise WrongUsage(f"schemas must be a list of names, or a query as sa.text('SELECT …'), not {described(value)}.")
    for name in value:
        if not isinstance(name, str):
            raise WrongUsage(f"schemas must be a list of names; {described(name)} is not a name.")
    return Schemas(names=tuple(value))


def sql_of(option: str, clause: ClauseElement) -> str:
    """Return the SQL of an expression, its values written out.

    Raises:
        WrongUsage: it has a parameter without a value, or SQLAlchemy cannot write a value into it.
    """
    # sa.text() reads :name as a parameter, and a parameter without a value would be written as NULL.
    parameters = [part for part in iterate(clause) if isinstance(part, BindParameter) and part.required]
    if parameters:
        names = ", ".join(f":{parameter.key}" for parameter in parameters)
        raise WrongUsage(
            f"{option} has the bound parameter {names} in {str(clause)!r}. Write its value into the SQL. If the colon "
            "does not begin a parameter, write it as \\: in a raw string."
        )
    if isinstance(clause, TextClause) and not clause._bindparams:  # noqa: SLF001 - there is no public way
        return unescaped(clause)
    # "named", because other styles double each percent sign.
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    try:
        return str(clause.compile(dialect=dialect, compile_kwargs={"literal_binds": True, "include_table": False}))
    except CompileError as error:
        raise WrongUsage(
            f"{option} has {described(clause)}, which cannot be written as SQL: {error}. Use sa.text(…)."
        ) from None


def unescaped(clause: TextClause) -> str:
    r"""Return the SQL of ``sa.text()`` as it is executed, which has a colon for each ``\:``."""
    return clause.text.replace("\\:", ":")


def escaped(sql: str) -> str:
    """Return SQL as ``sa.text()`` takes it: a colon before a word would be a bound parameter."""
    # A backslash before a colon would vanish, and one between colons, as in ":a:", would stay.
    every = re.search(r"\\:|(?<![:\w]):\w+:", sql)
    return re.sub(":" if every else r"(?<![:\w]):(?=\w)", r"\\:", sql)


def described(value: object) -> str:
    """Return a wrong value as a message shows it; for an object of SQLAlchemy, its type and text."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, list | tuple):
        parts = ", ".join(map(described, value))
        return f"[{parts}]" if isinstance(value, list) else f"({parts})"
    if type(value).__module__.startswith("sqlalchemy."):
        return f"{type(value).__name__} ({value})"
    return without_addresses(repr(value))


def initial_mode(value: object) -> Literal["IMMEDIATE", "DEFERRED"]:
    """Return the value of ``initially``; None is the default of PostgreSQL.

    Raises:
        WrongUsage: it is another word.
    """
    text = value.upper() if isinstance(value, str) else value
    if text in (None, "IMMEDIATE"):
        return "IMMEDIATE"
    if text == "DEFERRED":
        return "DEFERRED"
    raise WrongUsage(f"initially must be IMMEDIATE or DEFERRED, not {value!r}.")
