"""Good events in every spelling, identified by a number and a version.

All fields of an event follow from its number and its version, so a row of the table can be compared with what was
produced without a copy. Two versions of one number are a collision: the same key with different data.
"""

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

#: far from now, so that no other time in a log looks like an event's
EPOCH = datetime(2031, 1, 1, tzinfo=UTC)

AGENTS = ("researcher", "Prüfer", "a\\b'\"c", "агент", "🦆 duck", "tab\tand\nnewline", " spaces ", "NULL", "\\N")
TYPES = ("tool_call", "decision", "error", "success")
ACTIONS = ("Read", "Write", "Edit", "Bash")

#: part of every event, which no log may show
CONFIDENTIAL = "payload-of-an-event"

#: one event in LONG_ONE_IN has a text of LONG characters
LONG_ONE_IN, LONG = 4000, 400_000


@dataclass(frozen=True, order=True)
class Content:
    """An event's number, which decides its key, and the version of its data."""

    number: int
    version: int


def key_of(number: int) -> tuple[uuid.UUID, str, datetime]:
    """Return the key: correlation_id, action_name, and created_at as PostgreSQL stores it."""
    micros = (0, number * 7919 % 1000 * 1000, number * 104729 % 1_000_000, number * 7907 % 1_000_000)[number % 4]
    # Keys share a correlation and an action, and differ only in the time.
    correlation = uuid.uuid5(uuid.NAMESPACE_OID, f"correlation {number // 4}")
    return correlation, ACTIONS[number // 2 % 4], EPOCH + timedelta(seconds=number, microseconds=micros)


def data_of(content: Content) -> tuple[str, str, dict[str, Any], bool, int | None]:
    """Return the columns that are not in the key: agent_name, action_type, action_details, debug_mode, duration_ms."""
    number, version = content.number, content.version
    note = f"{CONFIDENTIAL} {AGENTS[number % 7]}"
    long = {"long": "x" * LONG} if number % LONG_ONE_IN == LONG_ONE_IN - 1 else {}
    details = {"number": number, "version": version, "note": note, "nested": {"list": [1, 2.5, None, True]}, **long}
    debug = number % 3 != 1
    return AGENTS[number % len(AGENTS)], TYPES[number % 4], details, debug, None if number % 5 == 0 else number % 60_000


def spell(content: Content, random: Random) -> bytes:
    """Return the event as one of many producers would write it."""
    correlation, action, at = key_of(content.number)
    agent, kind, details, debug, duration = data_of(content)
    event: dict[str, Any] = {
        "correlation_id": random.choice((str(correlation), str(correlation).upper(), correlation.hex)),
        "agent_name": agent,
        "action_type": kind,
        "action_name": action,
        "action_details": details,
        "timestamp": spell_time(at, random),
    }
    if not debug or random.random() < 0.5:
        event["debug_mode"] = debug
    if duration is not None or random.random() < 0.5:
        event["duration_ms"] = duration
    if random.random() < 0.1:
        event["an unknown field"] = {"correlation_id": "other"}
    return json.dumps(event, ensure_ascii=random.random() < 0.5).encode()


def plain(content: Content) -> bytes:
    """Return the event in the usual spelling."""
    correlation, action, at = key_of(content.number)
    agent, kind, details, debug, duration = data_of(content)
    event = {"correlation_id": str(correlation), "agent_name": agent, "action_type": kind, "action_name": action}
    more = {"action_details": details, "debug_mode": debug, "duration_ms": duration, "timestamp": at.isoformat()}
    return json.dumps(event | more).encode()


def spell_time(at: datetime, random: Random) -> str:
    """Return a time in one of the precisions and zones of ISO 8601."""
    name, minutes = random.choice(
        (("Z", 0), ("+00:00", 0), ("-00:00", 0), ("+05:30", 330), ("-0800", -480), ("+14", 840), ("-03:30", -210))
    )
    micros = at.microsecond
    local = at.astimezone(timezone(timedelta(minutes=minutes)))
    text = local.strftime(random.choice(("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")))
    return text + _fraction(micros, random) + name


def _fraction(micros: int, random: Random) -> str:
    """Return the fraction of a second: the fewest digits, six, or more than PostgreSQL keeps, which it rounds."""
    six = f"{micros:06}"
    spellings = [f".{six}", f".{six}000", f".{six}4", f".{six}49"]
    if micros:
        below = f"{micros - 1:06}"
        spellings += [f".{below}6", f".{below}97", "." + re.sub("0+$", "", six)]
    else:
        spellings.append("")
    return random.choice(spellings)
