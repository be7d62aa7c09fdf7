"""Bring a row's values into the one form in which they are sent: text, which the server reads as its own types do.

One form has two uses. A statement keeps one list of parameter types, so it is prepared once. And an event has
one key whoever parses it: PostgreSQL rounds a seventh digit of a second, Python's datetime cuts it off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Json, Jsonb

#: none of the words such as "now", which mean another time at each delivery
_STAMP = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?"
_ZONED = re.compile(_STAMP + r" ?([Zz]|[+-]\d\d(:?\d\d(:\d\d)?)?)", re.ASCII)
_MOVING = re.compile(r"now|today|tomorrow|yesterday", re.IGNORECASE)
_UNZONED = re.compile(_STAMP, re.ASCII)

Convert = Callable[[Any], Any]


class Unfit(Exception):
    """A value that is not sent to the server; the message says why, without the value."""


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return _sound(value)
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"  # COPY would write t, and a text keeps what it is given
    if isinstance(value, (int, float)):
        return int.__repr__(value) if isinstance(value, int) else float.__repr__(value)  # an enum has words of its own
    if isinstance(value, (list, tuple)):
        return [_text(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else _known(value)


def _sound(text: str) -> str:
    if "\x00" in text:
        raise Unfit("a text holds the character NUL, which PostgreSQL cannot store")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unfit("a text holds half of a surrogate pair, which is no character") from None
    return text


def _known(value: Any) -> Any:
    # UUID, Decimal, date and their like write themselves down as PostgreSQL reads them; the rest is psycopg's.
    return str(value) if isinstance(value, (UUID, Decimal, date)) else value


def _json(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return _text(value)
    if isinstance(value, (Json, Jsonb)):
        value = value.obj
    try:
        return _sound(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    except (TypeError, ValueError, RecursionError):
        raise Unfit("a JSON value holds something that JSON cannot") from None


def _timestamptz(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Unfit("a timestamp has no zone, so it would mean another time in another session")
        return value.isoformat()
    if value is not None and not (isinstance(value, str) and _ZONED.fullmatch(value)):
        raise Unfit("a timestamp is not of the form 2030-01-31T12:00:00.000000Z, with a zone")
    return _text(value)


def _timestamp(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise Unfit("a timestamp has a zone, which a column without one would drop in silence")
        return value.isoformat()
    if value is not None and not (isinstance(value, str) and _UNZONED.fullmatch(value)):
        raise Unfit("a timestamp is not of the form 2030-01-31T12:00:00.000000, without a zone")
    return _text(value)


def _day(value: Any) -> Any:
    if isinstance(value, str) and _MOVING.search(value):
        raise Unfit("a date or time is a word that means another one at each delivery")
    return _text(value)


_BY_TYPE: dict[str, Convert] = {
    "json": _json,
    "jsonb": _json,
    "timestamptz": _timestamptz,
    "timestamp": _timestamp,
    "date": _day,
    "time": _day,
    "timetz": _day,
}


def _convert(type_: str) -> Convert:
    """Return how a value of a type is sent; ``_timestamptz`` is the catalog's name of an array of timestamptz."""
    convert = _BY_TYPE.get(type_.removeprefix("_"), _text)
    if convert is _text or not type_.startswith("_"):
        return convert

    def each(value: Any) -> Any:
        return [each(item) for item in value] if isinstance(value, (list, tuple)) else convert(value)

    return lambda value: each(value) if isinstance(value, (list, tuple)) else _text(value)


class Values:
    """Turns rows into tuples of values that can be sent, for one list of columns."""

    def __init__(self, columns: Sequence[str], types: Mapping[str, str]) -> None:
        self._columns = tuple(columns)
        self._converts = tuple(_convert(types[column]) for column in self._columns)

    def __call__(self, row: Sequence[Any] | Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the row as it is sent.

        Raises:
            Unfit: a value, or the number or names of the values, is none that could be stored as meant.
        """
        if isinstance(row, Mapping):
            if len(row) != len(self._columns) or any(column not in row for column in self._columns):
                raise Unfit("the row's names are not the columns of the writer")
            row = [row[column] for column in self._columns]
        if len(row) != len(self._converts):
            raise Unfit(f"the row has {len(row)} values, not {len(self._converts)}")
        try:
            return tuple([convert(value) for convert, value in zip(self._converts, row, strict=True)])
        except (ValueError, RecursionError):  # an integer of more digits than Python writes down, a list of itself
            raise Unfit("a value could not be written down") from None
