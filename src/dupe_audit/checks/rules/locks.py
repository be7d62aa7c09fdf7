"""Locks: who holds a strong lock while a table is read, built or written anew stops the application for that long.

An instant under ACCESS EXCLUSIVE is no finding, nor is an hour's build beside the application.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dupe_audit.checks.evidence import Evidence, Revision, Traced
from dupe_audit.checks.report import Found
from dupe_audit.findings import finding
from dupe_audit.seeding.facts import Filled

#: lock → whom it stops
STOPS = {
    "SHARE": "all writes",
    "SHARE ROW EXCLUSIVE": "all writes",
    "EXCLUSIVE": "all writes",
    "ACCESS EXCLUSIVE": "reads and writes",
}
WORK = {"scan": "reads through", "build": "builds an index on", "rewrite": "rewrites"}

#: characters of a statement that a message shows
SHOWN = 72

#: what a name is, which stays, a comment, which goes, and else a value
_TOKEN = re.compile(
    r"""
    [eE]'(?:[^'\\]|''|\\.)*(?:'|$)
    | [nNbBxX]?'(?:[^']|'')*(?:'|$)
    | (?P<name>"(?:[^"]|"")*" | [^\W\d][\w$]*)
    | (?P<comment>--[^\n]* | /\*.*?(?:\*/|$))
    | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)
    | \d[\w.]*
    """,
    re.DOTALL | re.VERBOSE,
)

#: the statement of a revision, and the table that it has locked
_Key = tuple[str, str, str]


def check(evidence: Evidence) -> Iterator[Found]:
    """Find statements that work through a table while their transaction holds a lock that stops the application."""
    found: dict[_Key, Found] = {}
    filled_there: set[_Key] = set()
    for trip in evidence.trips:
        for key, one, on_filled in _seen(trip.revision, trip.statements, trip.filled):
            if key not in found or (on_filled and key not in filled_there):
                found[key] = one
            if on_filled:
                filled_there.add(key)
    for step in evidence.steps:
        for key, one, _ in _seen(step.revision, step.statements, None, empty=True):
            found.setdefault(key, one)
    order = {one.id: place for place, one in enumerate(evidence.revisions)}
    yield from sorted(found.values(), key=lambda one: (order.get(str(one.place.revision), 0), one.place.line or 0))


def _seen(
    revision: Revision, statements: tuple[Traced, ...], filled: Filled | None, *, empty: bool = False
) -> Iterator[tuple[_Key, Found, bool]]:
    for one in statements:
        for table, mode in one.held:
            if mode not in STOPS or not one.worked:
                continue
            on_filled = filled is not None and filled.table in dict(one.worked)
            doing = f"`{words(one.statement)}` {_work(one)}"
            subject = f"{mode} stops {STOPS[mode]} while {doing}, {_cost(one, filled, empty=empty)}"
            told = finding("lock-during-work", subject, table=table)
            found = Found(rule="locks", finding=told, place=revision.place(one.line))
            yield (revision.id, table, one.statement), found, on_filled


def _work(one: Traced) -> str:
    return " and ".join(f"{WORK[work]} {table}" for table, work in one.worked)


def _cost(one: Traced, filled: Filled | None, *, empty: bool) -> str:
    took = f"{max(one.seconds * 1000, 0.1):.1f} ms" if one.seconds < 0.1 else f"{one.seconds * 1000:,.0f} ms"
    if filled is not None and filled.table in dict(one.worked):
        return f"{took} with {filled.rows:,} rows in {filled.table}"
    return f"{took} on an empty table" if empty else took


def words(statement: str) -> str:
    """Return the beginning of a statement on one line, without comments and without any value."""
    bare = " ".join(_TOKEN.sub(lambda found: found["name"] or (" " if found["comment"] else "…"), statement).split())
    return bare if len(bare) <= SHOWN else bare[:SHOWN].rsplit(" ", 1)[0] + " …"
