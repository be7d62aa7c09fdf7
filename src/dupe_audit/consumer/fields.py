"""Check one field of an event against its column's type, and give what the writer gets for it.

The converters are closures that are made once for each column. What the server would refuse is refused here where
that is cheap, because one bad row of a batch costs the database some twenty statements to find.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from dupe_audit.consumer.config import Convert


class Poison(Exception):
    """An event that can never become a row.

    ``reason`` is one of the documented words; the message says more, without any of the event's contents.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Exact:
    """A number whose digits a float does not keep, such as 0.10 or 0.1234567890123456789."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @staticmethod
    def read(text: str) -> float | Exact:
        """Return what JSON's ``text`` says: a float where that prints the same."""
        number = float(text)
        return number if repr(number) == text else Exact(text)


# Ranges of months, hours and the like belong to the pattern; whether a month has 31 days the server knows.
_DATE = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_STAMP = _DATE + r"[Tt ](?:[01]\d|2[0-4]):[0-5]\d(?::(?:[0-5]\d|60)(?:\.\d+)?)?"
_ZONE = r"(?:[Zz]|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?)"
_HEX = r"[0-9a-fA-F]"
_UUID = rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}|{_HEX}{{32}}"
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_NO_ZONE = re.compile(_STAMP)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def _sound(value: str) -> str:
    if "\x00" in value:
        raise Poison("bad_text", "a text holds the character NUL, which PostgreSQL cannot store")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Poison("bad_text", "a text holds half of a surrogate pair, which is no character") from None
    return value


def text(value: Any) -> str:
    """Take a string."""
    if type(value) is not str:
        raise Poison("wrong_type", "not a string")
    return _sound(value)


def _pattern(pattern: str, reason: str, what: str) -> Convert:
    matches = re.compile(pattern, re.ASCII).fullmatch

    def convert(value: Any) -> str:
        if type(value) is not str:
            raise Poison("wrong_type", f"not {what}: not a string")
        if matches(value) is None:
            raise Poison(reason, f"not {what}")
        return value

    return convert


def timestamptz(value: Any) -> str:
    """Take a point in time, with a zone; it stays the text that it is."""
    if type(value) is not str:
        raise Poison("wrong_type", "not a timestamp: not a string")
    if _zoned(value) is None:
        lacks = "a timestamp without a zone" if _NO_ZONE.fullmatch(value) else "not a timestamp of ISO 8601"
        raise Poison("bad_timestamp", lacks)
    return value


_zoned = re.compile(_STAMP + _ZONE, re.ASCII).fullmatch


def _whole(bits: int) -> Convert:
    limit = 1 << (bits - 1)

    def convert(value: Any) -> int:
        if type(value) is not int:
            raise Poison("wrong_type", "not a whole number")
        if not -limit <= value < limit:
            raise Poison("out_of_range", f"a whole number of more than {bits} bits")
        return value

    return convert


def number(value: Any) -> str:
    """Take a number, with all of its digits."""
    if type(value) is Exact:
        return value.text
    if type(value) is not int and type(value) is not float:
        raise Poison("wrong_type", "not a number")
    return repr(value)


def boolean(value: Any) -> bool:
    """Take true or false."""
    if type(value) is not bool:
        raise Poison("wrong_type", "not true or false")
    return value


def jsonb(value: Any) -> str:
    """Take anything; return it as JSON again, with the digits of its numbers and without NUL."""
    try:
        try:
            encoded = _encode(value)
        except TypeError:
            encoded = _written(value)  # it holds an Exact, which json.dumps does not know
    except RecursionError:
        raise Poison("out_of_range", "a JSON value is nested too deeply") from None
    if "\\u0000" in encoded and _NUL.search(encoded):
        raise Poison("bad_text", "a JSON value holds the character NUL, which PostgreSQL cannot store")
    return _sound(encoded)


def _written(value: Any) -> str:
    """Write JSON in which numbers keep their digits, which json.dumps cannot."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_encode(name)}:{_written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return value.text if isinstance(value, Exact) else _encode(value)


def _array(convert: Convert) -> Convert:
    def convert_all(value: Any) -> list[Any]:
        if type(value) is not list:
            raise Poison("wrong_type", "not an array")
        return [None if item is None else convert(item) for item in value]

    return convert_all


_SCALARS: dict[str, Convert] = {
    "text": text,
    "uuid": _pattern(_UUID, "wrong_type", "a UUID"),
    "smallint": _whole(16),
    "integer": _whole(32),
    "bigint": _whole(64),
    "numeric": number,
    "double": number,
    "boolean": boolean,
    "timestamptz": timestamptz,
    "timestamp": _pattern(_STAMP, "bad_timestamp", "a timestamp of ISO 8601 without a zone"),
    "date": _pattern(_DATE, "bad_timestamp", "a date of ISO 8601"),
}

#: by the name that a configuration gives
TYPES: dict[str, Callable[[Any], Any]] = {
    **_SCALARS,
    "json": jsonb,
    "jsonb": jsonb,
    **{f"{name}[]": _array(convert) for name, convert in _SCALARS.items()},
}
