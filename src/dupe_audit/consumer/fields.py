"""Check one field of an event against its column's type, and convert it for the writer.

Each converter is created once, not for each event. Values that the server would refuse are refused here where that is
cheap, because finding one bad row of a batch costs the database some twenty statements.
"""

from __future__ import annotations

import json
import re
from typing import Any

from dupe_audit.consumer.config import Converter
from dupe_audit.writer.values import InvalidRow, valid_text


class Poison(Exception):
    """An event that can never become a row.

    ``reason`` is one of the documented words; the message has details, but none of the event's contents.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Exact:
    """A number whose digits a float would lose, such as 0.10 or 0.1234567890123456789."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @staticmethod
    def parse(text: str) -> float | Exact:
        """Return a number of JSON: a float if that prints the same."""
        number = float(text)
        return number if repr(number) == text else Exact(text)


# The patterns check ranges, such as those of months and hours; whether a month has 31 days is left to the server.
_DATE = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_TIMESTAMP = _DATE + r"[Tt ](?:[01]\d|2[0-4]):[0-5]\d(?::(?:[0-5]\d|60)(?:\.\d+)?)?"
_ZONE = r"(?:[Zz]|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?)"
_HEX = r"[0-9a-fA-F]"
_UUID = rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}|{_HEX}{{32}}"
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_WITHOUT_ZONE = re.compile(_TIMESTAMP)
_WITH_ZONE = re.compile(_TIMESTAMP + _ZONE, re.ASCII)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def _storable(value: str) -> str:
    """Return *value* if PostgreSQL can store it as text."""
    try:
        return valid_text(value)
    except InvalidRow as error:
        raise Poison("bad_text", str(error)) from None


def text(value: Any) -> str:
    """Accept a string."""
    if type(value) is not str:
        raise Poison("wrong_type", "not a string")
    return _storable(value)


def _pattern(pattern: str, reason: str, description: str) -> Converter:
    match = re.compile(pattern, re.ASCII).fullmatch

    def convert(value: Any) -> str:
        if type(value) is not str:
            raise Poison("wrong_type", f"not {description}: not a string")
        if match(value) is None:
            raise Poison(reason, f"not {description}")
        return value

    return convert


def timestamptz(value: Any) -> str:
    """Accept a timestamp with a time zone; return it unchanged, as text."""
    if type(value) is not str:
        raise Poison("wrong_type", "not a timestamp: not a string")
    if _WITH_ZONE.fullmatch(value) is None:
        problem = "a timestamp without a time zone" if _WITHOUT_ZONE.fullmatch(value) else "not an ISO 8601 timestamp"
        raise Poison("bad_timestamp", problem)
    return value


def _integer(bits: int) -> Converter:
    limit = 1 << (bits - 1)

    def convert(value: Any) -> int:
        if type(value) is not int:
            raise Poison("wrong_type", "not a whole number")
        if not -limit <= value < limit:
            raise Poison("out_of_range", f"a whole number that does not fit in {bits} bits")
        return value

    return convert


def number(value: Any) -> str:
    """Accept a number; return it as text, with all its digits."""
    if type(value) is Exact:
        return value.text
    if type(value) is not int and type(value) is not float:
        raise Poison("wrong_type", "not a number")
    return repr(value)


def boolean(value: Any) -> bool:
    """Accept true or false."""
    if type(value) is not bool:
        raise Poison("wrong_type", "not true or false")
    return value


def jsonb(value: Any) -> str:
    """Accept anything but NUL; return it as JSON, with all the digits of its numbers."""
    try:
        try:
            encoded = _encode(value)
        except TypeError:
            encoded = _encode_exactly(value)  # it contains an Exact, which json cannot encode
    except RecursionError:
        raise Poison("out_of_range", "a JSON value is nested too deeply") from None
    if "\\u0000" in encoded and _NUL.search(encoded):
        raise Poison("bad_text", "a JSON value contains the character NUL, which PostgreSQL cannot store")
    return _storable(encoded)


def _encode_exactly(value: Any) -> str:
    """Return JSON in which numbers keep their digits."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_encode(name)}:{_encode_exactly(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_encode_exactly, value)) + "]"
    return value.text if isinstance(value, Exact) else _encode(value)


def _array(convert: Converter) -> Converter:
    def convert_all(value: Any) -> list[Any]:
        if type(value) is not list:
            raise Poison("wrong_type", "not an array")
        return [None if item is None else convert(item) for item in value]

    return convert_all


_SCALARS: dict[str, Converter] = {
    "text": text,
    "uuid": _pattern(_UUID, "wrong_type", "a UUID"),
    "smallint": _integer(16),
    "integer": _integer(32),
    "bigint": _integer(64),
    "numeric": number,
    "double": number,
    "boolean": boolean,
    "timestamptz": timestamptz,
    "timestamp": _pattern(_TIMESTAMP, "bad_timestamp", "an ISO 8601 timestamp without a time zone"),
    "date": _pattern(_DATE, "bad_timestamp", "an ISO 8601 date"),
}

#: converters by the type's name in the configuration
TYPES: dict[str, Converter] = {
    **_SCALARS,
    "json": jsonb,
    "jsonb": jsonb,
    **{f"{name}[]": _array(convert) for name, convert in _SCALARS.items()},
}
