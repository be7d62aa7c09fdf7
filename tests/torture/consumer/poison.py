"""Messages of every kind that can never become a row, and the reasons that the consumer has to report."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from torture.consumer.events import Content, spell

#: the number of an event that is never sent
NEVER = 10**9


@dataclass(frozen=True)
class Kind:
    """How to make such a message from a good event's fields, and the correct reasons."""

    make: Callable[[dict[str, Any], Random], bytes | None]
    reasons: frozenset[str]


def _field(name: str, value: Any, *reasons: str) -> Kind:
    def make(event: dict[str, Any], _random: Random) -> bytes:
        return json.dumps({**event, name: value}).encode()

    return Kind(make, frozenset(reasons))


def _without(name: str) -> Kind:
    def make(event: dict[str, Any], _random: Random) -> bytes:
        return json.dumps({other: value for other, value in event.items() if other != name}).encode()

    return Kind(make, frozenset({"missing_field"}))


def _bytes(make: Callable[[bytes, Random], bytes | None], reason: str) -> Kind:
    return Kind(lambda event, random: make(json.dumps(event).encode(), random), frozenset({reason}))


def _noise(random: Random, length: int) -> str:
    """Return text that does not compress, so that it is too long for an index."""
    return random.randbytes(length // 2).hex()


KINDS: dict[str, Kind] = {
    "tombstone": _bytes(lambda _good, _random: None, "tombstone"),
    "empty": _bytes(lambda _good, _random: b"", "not_json"),
    "words": _bytes(lambda _good, _random: b"hello, world", "not_json"),
    "cut off": _bytes(lambda good, random: good[: random.randrange(1, len(good))], "not_json"),
    "two objects": _bytes(lambda good, _random: good + good, "not_json"),
    "not UTF-8": _bytes(lambda good, _random: good.replace(b"tool", b"\xff\xfe"), "not_utf8"),
    "Latin-1": _bytes(lambda good, _random: good[:-1] + b', "x": "\xe9"}', "not_utf8"),
    "nested too deeply": _bytes(lambda _good, _random: b"[" * 200_000, "not_json"),
    "a list": _bytes(lambda good, _random: b"[" + good + b"]", "not_an_object"),
    "null": _bytes(lambda _good, _random: b"null", "not_an_object"),
    "a field twice": _bytes(lambda good, _random: good[:-1] + b', "agent_name": "again"}', "duplicate_field"),
    "NaN": _bytes(lambda good, _random: good[:-1] + b', "duration_ms": NaN}', "not_json"),
    "no correlation": _without("correlation_id"),
    "no time": _without("timestamp"),
    "no agent": _field("agent_name", None, "missing_field"),
    "a number for a text": _field("agent_name", 7, "wrong_type"),
    "an object for a text": _field("action_name", {"a": 1}, "wrong_type"),
    "no UUID": _field("correlation_id", "not-a-uuid", "wrong_type"),
    "a text for a number": _field("duration_ms", "12", "wrong_type"),
    "a fraction for a whole number": _field("duration_ms", 1.5, "wrong_type"),
    "a text for true": _field("debug_mode", "true", "wrong_type"),
    "too large a number": _field("duration_ms", 2**31, "out_of_range"),
    "NUL in a text": _field("agent_name", "a\0b", "bad_text"),
    "NUL in JSON": _field("action_details", {"a": ["b\0c"]}, "bad_text"),
    "half a surrogate pair": _field("action_name", "\ud83e", "bad_text"),
    "no zone": _field("timestamp", "2031-01-01T00:00:00.123456", "bad_timestamp"),
    "seconds since 1970": _field("timestamp", 1_924_992_000, "wrong_type"),
    "a word for a time": _field("timestamp", "now", "bad_timestamp"),
    "a thirteenth month": _field("timestamp", "2031-13-01T00:00:00Z", "bad_timestamp"),
    "too long a value": Kind(
        lambda event, random: json.dumps({**event, "action_details": _noise(random, 1_100_000)}).encode(),
        frozenset({"too_large"}),
    ),
    # Only the server finds the following.
    "30 February": _field("timestamp", "2031-02-30T00:00:00Z", "database"),
    "an unknown type of action": _field("action_type", "dance", "database"),
    "a million characters in an index": Kind(
        lambda event, random: json.dumps({**event, "agent_name": _noise(random, 1_000_000)}).encode(),
        frozenset({"database"}),
    ),
    "a number that jsonb cannot hold": _bytes(
        lambda good, _random: good.replace(b'"version"', b'"big": 1e999999, "version"'), "database"
    ),
}


def poison(kind: str, number: int, random: Random) -> bytes | None:
    """Return a message of a kind, made from an event that is never sent."""
    # In steps of four: none of these numbers has the long text, which would make it another kind.
    event = json.loads(spell(Content(NEVER - 4 * number, 0), Random(number)))
    return KINDS[kind].make({**event, "debug_mode": True, "duration_ms": 1, "action_type": "tool_call"}, random)
