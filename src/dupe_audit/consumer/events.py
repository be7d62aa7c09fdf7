"""Turn the bytes of a message into a row for the writer. Pure; raises Poison for what can never become a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from dupe_audit.consumer.config import ColumnMapping, EventSettings
from dupe_audit.consumer.fields import Exact, Poison
from dupe_audit.findings import quantity

Row = tuple[Any, ...]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        # Parsers disagree on which value counts, so the event would have one key here and another elsewhere.
        raise Poison("duplicate_field", "an object contains a field twice")
    return fields


def _reject_constant(_text: str) -> NoReturn:
    raise Poison("not_json", "the value contains NaN or Infinity, which JSON does not allow")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_float=Exact.parse, parse_constant=_reject_constant).decode


class Decoder:
    """Turns the value of a message into a row, in the order of the columns."""

    def __init__(self, columns: Sequence[ColumnMapping], settings: EventSettings) -> None:
        self._max_bytes = settings.max_bytes
        #: each column, with its field's name unless the field is nested
        self._columns = tuple((column, column.path[0] if len(column.path) == 1 else None) for column in columns)
        self._allowed = frozenset(column.path[0] for column in columns) if settings.extra == "reject" else None

    def __call__(self, message: bytes | None) -> Row:
        """Return the row.

        Raises:
            Poison: the message can never become a row.
        """
        event = self._parse(message)
        if self._allowed is not None and not event.keys() <= self._allowed:
            count = len(event.keys() - self._allowed)
            raise Poison("extra_field", f"{quantity(count, 'field')} that no column reads")
        row = []
        for column, name in self._columns:
            value = event.get(name) if name is not None else _follow(event, column.path)
            if value is None:
                if column.required:
                    raise Poison("missing_field", f"field {'.'.join(column.path)!r} is missing or null")
                row.append(column.default)
                continue
            try:
                row.append(column.convert(value))
            except Poison as poison:
                raise Poison(poison.reason, f"field {'.'.join(column.path)!r}: {poison}") from None
        return tuple(row)

    def _parse(self, message: bytes | None) -> dict[str, Any]:
        if message is None:
            raise Poison("tombstone", "the message has no value")
        if len(message) > self._max_bytes:
            raise Poison("too_large", f"the value has {len(message):,} bytes; the limit is {self._max_bytes:,}")
        try:
            event = _decode(message.decode())
        except UnicodeDecodeError:
            raise Poison("not_utf8", "the value is not UTF-8") from None
        except (ValueError, RecursionError):
            # Python also raises ValueError for a number with more digits than it agrees to parse.
            raise Poison("not_json", "the value is not JSON, or is nested too deeply") from None
        if not isinstance(event, dict):
            raise Poison("not_an_object", "the value is JSON, but not an object")
        return event


def _follow(event: dict[str, Any], path: Sequence[str]) -> Any:
    """Return the value at a path, or None; anything on the way that is not an object has no fields."""
    value: Any = event
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
