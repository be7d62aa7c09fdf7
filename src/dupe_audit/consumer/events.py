"""Bytes of a message into a row for the writer. Pure; raises Poison for what can never be one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from dupe_audit.consumer.config import Column, EventRule
from dupe_audit.consumer.fields import Exact, Poison

Row = tuple[Any, ...]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Readers disagree on which one counts, so the event would have one key here and another elsewhere.
        raise Poison("duplicate_field", "an object has a field twice")
    return found


def _no_number(_text: str) -> NoReturn:
    raise Poison("not_json", "NaN or Infinity, which JSON does not have")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_float=Exact.read, parse_constant=_no_number).decode


class Decoder:
    """Turns the value of a message into a row, in the order of the columns."""

    def __init__(self, columns: Sequence[Column], rule: EventRule) -> None:
        self._max_bytes = rule.max_bytes
        self._plain = tuple((column, column.path[0] if len(column.path) == 1 else None) for column in columns)
        self._known = frozenset(column.path[0] for column in columns) if rule.extra == "reject" else None

    def __call__(self, value: bytes | None) -> Row:
        """Return the row.

        Raises:
            Poison: the message can never become one.
        """
        event = self._read(value)
        if self._known is not None and not event.keys() <= self._known:
            raise Poison("extra_field", f"{len(event.keys() - self._known)} fields that no column is read from")
        row = []
        for column, name in self._plain:
            found = event.get(name) if name is not None else _within(event, column.path)
            if found is None:
                if column.required:
                    raise Poison("missing_field", f"field {'.'.join(column.path)!r} is missing or null")
                row.append(column.default)
                continue
            try:
                row.append(column.convert(found))
            except Poison as poison:
                raise Poison(poison.reason, f"field {'.'.join(column.path)!r}: {poison}") from None
        return tuple(row)

    def _read(self, value: bytes | None) -> dict[str, Any]:
        if value is None:
            raise Poison("tombstone", "the message has no value")
        if len(value) > self._max_bytes:
            raise Poison("too_large", f"{len(value)} bytes, of {self._max_bytes} at most")
        try:
            event = _decode(value.decode())
        except UnicodeDecodeError:
            raise Poison("not_utf8", "the value is not UTF-8") from None
        except (ValueError, RecursionError):
            # ValueError is also what Python says to a number of more digits than it likes to read.
            raise Poison("not_json", "the value is not JSON, or is nested too deeply") from None
        if not isinstance(event, dict):
            raise Poison("not_an_object", "the value is JSON, but not an object")
        return event


def _within(event: dict[str, Any], path: Sequence[str]) -> Any:
    """Follow a path; whatever is not an object on the way has none of its fields."""
    found: Any = event
    for name in path:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found
