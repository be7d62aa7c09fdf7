"""Add a directive to Alembic's operations, so that a wrong argument ends in one line instead of a traceback."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeAlias, TypeVar

import alembic.op
from alembic.operations import MigrateOperation, Operations
from alembic.util import CommandError
from sqlalchemy import ColumnClause, ColumnElement, TextClause
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import CompileError
from sqlalchemy.sql import ClauseElement

from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression

T = TypeVar("T", bound=type[MigrateOperation])

#: a column's name, or an expression such as ``sa.text("lower(email)")``
Element: TypeAlias = str | ColumnElement[Any] | TextClause

#: SQL for the rows that a key covers
Predicate: TypeAlias = str | ColumnElement[Any] | TextClause | None

_names: list[str] = []


class InvalidArgument(WrongUsage, CommandError):
    """An argument of a directive that can never work; Alembic's command line prints it without a traceback."""


class UnknownDirective(InvalidArgument, AttributeError):
    """The name of a directive that does not exist, but is close to one that does."""


def directive(name: str) -> Callable[[T], T]:
    """Register a class as the operation ``op.<name>()``, whose wrong arguments raise ``InvalidArgument``.

    While a revision is recorded, a wrong argument is noted, so that one reading finds all of them.
    """

    def register(operation: T) -> T:
        Operations.register_operation(name)(operation)
        method = getattr(Operations, name)
        signature = inspect.signature(method)

        @wraps(method)
        def checked(operations: Operations, *arguments: Any, **options: Any) -> Any:
            try:
                try:
                    signature.bind(operations, *arguments, **options)
                except TypeError as error:
                    hint = " Only an index can have a predicate: use op.create_unique_index_online()."
                    index_only = name == "create_unique_constraint_online" and "where" in options
                    raise WrongUsage(
                        f"{error}. Its arguments are: {_listed(signature)}.{hint if index_only else ''}"
                    ) from None
                return method(operations, *arguments, **options)
            except WrongUsage as error:
                if isinstance(error, InvalidArgument):
                    raise
                problem = f"op.{name}(): {error}"
                note = getattr(operations, "note_mistake", None)
                if note is None:
                    raise InvalidArgument(f"{problem.removesuffix('.')}{_place()}.") from None
                note(InvalidArgument(problem))

        setattr(Operations, name, checked)
        _names.append(name)
        return operation

    return register


def _listed(signature: inspect.Signature) -> str:
    return ", ".join(name for name in signature.parameters if name != "self")


def _place() -> str:
    """Return file and line of the revision that is being executed, as messages end; empty outside of a revision."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read the source of every frame
    while frame and not {"revision", "down_revision"} <= frame.f_globals.keys():
        frame = frame.f_back
    return f" ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})" if frame else ""


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
    if isinstance(values, str | ClauseElement):
        values = (values,)
    if not isinstance(values, Sequence) or isinstance(values, (bytes, bytearray)):
        raise WrongUsage(f"{option} must be a list of column names and sa.text(…), not {described(values)}.")
    return tuple(_element(option, value) for value in values)


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
_KEYWORDS = {"true", "false", "null", "current_date", "current_time", "current_timestamp", "current_user", "user"}


def predicate(option: str, value: object) -> str | None:
    """Return a predicate as SQL; None stays None.

    Raises:
        WrongUsage: it is neither text nor an expression, or it has a bound parameter.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, ClauseElement):
        return sql_of(option, value)
    raise WrongUsage(f"{option} must be SQL, such as 'deleted_at IS NULL', not {described(value)}.")


def sql_of(option: str, clause: ClauseElement) -> str:
    """Return the SQL of an expression, its values written out."""
    if isinstance(clause, TextClause):
        # sa.text() reads :name as a parameter.
        if names := ", ".join(f":{name}" for name in clause._bindparams):  # noqa: SLF001 - there is no public way
            raise WrongUsage(
                f"{option} has the bound parameter {names} in {clause.text!r}. Write its value into the SQL. If "
                "the colon does not begin a parameter, write it as \\: in a raw string."
            )
        return re.sub(r"\\(:)", r"\1", clause.text)
    # "named", because other styles double each percent sign.
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    try:
        return str(clause.compile(dialect=dialect, compile_kwargs={"literal_binds": True, "include_table": False}))
    except CompileError as error:
        raise WrongUsage(f"{option} has {described(clause)}, which has no SQL: {error}. Use sa.text(…).") from None


def escaped(sql: str) -> str:
    """Return SQL as ``sa.text()`` takes it: a colon before a word would be a bound parameter."""
    return re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", sql)


def described(value: object) -> str:
    """Return a wrong value as a message shows it; for an object of SQLAlchemy, its type and text."""
    if type(value).__module__.startswith("sqlalchemy."):
        return f"{type(value).__name__} ({value})"
    return repr(value)


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


def _missing(name: str) -> Any:
    """Suggest the directive that a name could mean; called for a name that ``alembic.op`` does not have."""
    if close := get_close_matches(name, _names, n=1, cutoff=0.8):
        raise UnknownDirective(f"op.{name}() does not exist. Did you mean op.{close[0]}()?{_place()}")
    raise AttributeError(f"module 'alembic.op' has no attribute {name!r}")


if not hasattr(alembic.op, "__getattr__"):
    alembic.op.__getattr__ = _missing  # type: ignore[method-assign]
