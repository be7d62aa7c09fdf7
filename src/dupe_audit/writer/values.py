"""Convert a row's values to the one form in which they are sent: text, which the server parses by its own types.

There are two reasons for a single form. A statement keeps one list of parameter types, so it is prepared once. And an
event has the same key whoever parses it: PostgreSQL rounds a seventh digit of a second, Python's datetime cuts it off.
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

#: no words such as "now", which mean another time at each delivery
_TIMESTAMP = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?"
_ZONED = re.compile(_TIMESTAMP + r" ?([Zz]|[+-]\d\d(:?\d\d(:\d\d)?)?)", re.ASCII)
_RELATIVE = re.compile(r"now|today|tomorrow|yesterday", re.IGNORECASE)
_UNZONED = re.compile(_TIMESTAMP, re.ASCII)

Converter = Callable[[Any], Any]


class InvalidRow(Exception):
    """A row that is not sent to the server; the message says why, without the row's values."""


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"  # COPY would write t, and a column of type text would keep that
    if isinstance(value, (int, float)):
        # Not repr(value), which is not the number if the value is an IntEnum.
        return int.__repr__(value) if isinstance(value, int) else float.__repr__(value)
    if isinstance(value, (list, tuple)):
        return [_text(item) for item in value]
    if isinstance(value, (UUID, Decimal, date)):  # PostgreSQL reads these as Python writes them
        return value.isoformat() if isinstance(value, datetime) else str(value)
    return value  # None, bytes, and types that psycopg converts


def valid_text(text: str) -> str:
    """Return *text* if PostgreSQL can store it.

    Raises:
        InvalidRow: it contains the character NUL, or half of a surrogate pair.
    """
    if "\x00" in text:
        raise InvalidRow("a string contains the character NUL, which PostgreSQL cannot store")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidRow("a string contains half of a surrogate pair, which is not a character") from None
    return text


def _json(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return _text(value)
    if isinstance(value, (Json, Jsonb)):
        value = value.obj
    try:
        return valid_text(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    except (TypeError, ValueError, RecursionError):
        raise InvalidRow("a JSON value contains something that JSON cannot represent") from None


def _timestamptz(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidRow("a timestamp has no time zone, so it would mean another time in another session")
        return value.isoformat()
    if value is not None and not (isinstance(value, str) and _ZONED.fullmatch(value)):
        raise InvalidRow("a timestamp does not have the form 2030-01-31T12:00:00.000000Z, with a time zone")
    return _text(value)


def _timestamp(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise InvalidRow("a timestamp has a time zone, which its column would silently drop")
        return value.isoformat()
    if value is not None and not (isinstance(value, str) and _UNZONED.fullmatch(value)):
        raise InvalidRow("a timestamp does not have the form 2030-01-31T12:00:00.000000, without a time zone")
    return _text(value)


def _date_or_time(value: Any) -> Any:
    if isinstance(value, str) and _RELATIVE.search(value):
        raise InvalidRow("a date or time is a word such as now, which would mean something else at each delivery")
    return _text(value)


_BY_TYPE: dict[str, Converter] = {
    "json": _json,
    "jsonb": _json,
    "timestamptz": _timestamptz,
    "timestamp": _timestamp,
    "date": _date_or_time,
    "time": _date_or_time,
    "timetz": _date_or_time,
}


def _converter(type_: str) -> Converter:
    """Return the converter for a type; ``_timestamptz`` is the catalog's name of an array of timestamptz."""
    convert = _BY_TYPE.get(type_.removeprefix("_"), _text)
    if convert is _text or not type_.startswith("_"):
        return convert

    def convert_items(value: Any) -> Any:
        return [convert_items(item) for item in value] if isinstance(value, (list, tuple)) else convert(value)

    return lambda value: convert_items(value) if isinstance(value, (list, tuple)) else _text(value)


#: converters of values of a type of Python that need no look at each value
_BY_CLASS: dict[type, Converter] = {
    bool: lambda value: "true" if value else "false",
    int: int.__repr__,
    float: float.__repr__,
    UUID: str,
    Decimal: str,
}

#: what texts of a column have to match, by converter; others are only searched for characters that cannot be sent
_FORMS: dict[Converter, re.Pattern[str]] = {_timestamptz: _ZONED, _timestamp: _UNZONED}


def _convert_column(convert: Converter, values: Sequence[Any]) -> Sequence[Any]:
    """Return the values of a column as they are sent; those of one type of Python are looked at all at once."""
    classes = set(map(type, values))
    if classes == {str}:
        if (form := _FORMS.get(convert)) and all(map(form.fullmatch, values)):
            return values
        if convert in (_text, _json):
            valid_text("".join(values))
            return values
    if convert is _text and len(classes) == 1 and classes <= _BY_CLASS.keys():
        return list(map(_BY_CLASS[classes.pop()], values))
    return [convert(value) for value in values]


class RowConverter:
    """Converts rows to tuples of values that can be sent.

    Args:
        columns: the columns of a row, in the order of its values.
        types: the catalog name of each column's base type.
    """

    def __init__(self, columns: Sequence[str], types: Mapping[str, str]) -> None:
        self._columns = tuple(columns)
        self._converters = tuple(_converter(types[column]) for column in self._columns)

    def __call__(self, row: Sequence[Any] | Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the row as it is sent.

        Raises:
            InvalidRow: a value could not be stored as it is meant, or the values do not fit the columns.
        """
        return self.together([row])[0]

    def together(self, rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """Return the rows as they are sent, converted column by column.

        Raises:
            InvalidRow: as for a single row; the message does not say which row it is.
        """
        if not ({tuple, list} >= set(map(type, rows)) and {len(self._columns)} == set(map(len, rows))):
            rows = list(map(self._in_order, rows))
        columns = zip(*rows, strict=True)
        try:
            return list(zip(*map(_convert_column, self._converters, columns), strict=True))
        except (ValueError, RecursionError):  # an integer with more digits than Python converts, a list in itself
            raise InvalidRow("a value could not be converted to text") from None

    def _in_order(self, row: Sequence[Any] | Mapping[str, Any]) -> Sequence[Any]:
        """Return the row's values in the order of the columns."""
        if isinstance(row, Mapping):
            if len(row) != len(self._columns) or any(column not in row for column in self._columns):
                raise InvalidRow("the row's names are not the writer's columns")
            return [row[column] for column in self._columns]
        if len(row) != len(self._columns):
            raise InvalidRow(f"the row has {len(row)} values, not {len(self._columns)}")
        return row
