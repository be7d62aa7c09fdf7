"""Read what a revision passes as ``set_`` and ``merge``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import TextClause
from sqlalchemy.sql import ClauseElement

from dupe_audit.directives.arguments import described, sql_of
from dupe_audit.errors import WrongUsage
from dupe_audit.model import Change, Merge
from dupe_audit.statements import literal

#: what a column can be set to: a value, or SQL that computes it
NewValue: TypeAlias = (
    str
    | int
    | float
    | bool
    | Decimal
    | date
    | time
    | timedelta
    | UUID
    | bytes
    | Mapping[str, Any]
    | list[Any]
    | ClauseElement
    | None
)

#: how a column is merged: the name of a method, or an aggregate
WayToMerge: TypeAlias = str | TextClause | ClauseElement


def changes(option: str, values: object) -> tuple[Change, ...]:
    """Return the columns to change with the SQL of their new values.

    Raises:
        WrongUsage: it is not a mapping of names of columns, it is empty, or a value has no SQL.
    """
    return tuple(Change(column, _new_value(option, column, value)) for column, value in _items(option, values))


def merges(option: str, values: object) -> tuple[Merge, ...]:
    """Return the columns to merge, each with how.

    Raises:
        WrongUsage: it is not a mapping of names of columns, it is empty, or a method of merging does not exist.
    """
    return () if values is None else tuple(_merge(option, column, how) for column, how in _items(option, values))


def _merge(option: str, column: str, how: object) -> Merge:
    if isinstance(how, ClauseElement):
        return Merge(column, sql_of(option, how), is_sql=True)
    if isinstance(how, str):
        return Merge(column, how)
    raise WrongUsage(
        f"{option} has {described(how)} for column {column!r}. Write a method such as 'sum', or sa.text(…)."
    )


def _items(option: str, values: object) -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping) or not values:
        example = "{'hits': 'sum'}" if option == "merge" else "{'deleted_at': sa.text('now()')}"
        raise WrongUsage(f"{option} must map columns to values, such as {example}, not {described(values)}.")
    for column in values:
        if not isinstance(column, str):
            raise WrongUsage(f"{option} must have column names as its keys; {described(column)} is not a name.")
    return list(values.items())


def _new_value(option: str, column: str, value: object) -> str:
    if isinstance(value, ClauseElement):
        return sql_of(option, value)
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, str | int | float | bool):
        return literal(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return literal(f"\\x{bytes(value).hex()}")
    if isinstance(value, Mapping | list):
        return _json(option, column, value)
    if isinstance(value, timedelta):
        # With IntervalStyle sql_standard, a minus sign in front holds for all that follows without a sign.
        return literal(f"{value.days} days +{value.seconds}.{value.microseconds:06} seconds")
    if isinstance(value, Decimal | date | time | UUID):
        return literal(value.isoformat() if isinstance(value, date | time) else str(value))
    raise WrongUsage(
        f"{option} has {described(value)} for column {column!r}, which cannot be written as an SQL literal. "
        "Use sa.text(…)."
    )


def _json(option: str, column: str, value: Mapping[str, Any] | list[Any]) -> str:
    """Return a dict or a list as JSON; for a column of an array type, the server makes an array of a list."""

    def part(inner: object) -> object:
        if isinstance(inner, Enum):
            return inner.value
        if isinstance(inner, date | time):
            return inner.isoformat()
        if isinstance(inner, Decimal | UUID):
            return str(inner)
        raise TypeError(described(inner))

    try:
        return literal(json.dumps(value, default=part, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise WrongUsage(
            f"{option} has {described(value)} for column {column!r}, which cannot be written as JSON: {error}. "
            "Use sa.text(…)."
        ) from None
