"""Locks: a strong lock held while a table is scanned, indexed or rewritten blocks the application for that long.

A moment under ACCESS EXCLUSIVE is not a finding, nor is a one-hour build that leaves the application running.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dupe_audit.checks.evidence import Evidence, Revision, TracedStatement
from dupe_audit.checks.report import Found
from dupe_audit.findings import finding
from dupe_audit.seeding.facts import Filled

#: lock → what it blocks
BLOCKS = {
    "SHARE": "all writes",
    "SHARE ROW EXCLUSIVE": "all writes",
    "EXCLUSIVE": "all writes",
    "ACCESS EXCLUSIVE": "reads and writes",
}
WORK = {"scan": "scans", "build": "builds an index on", "rewrite": "rewrites"}

#: maximum number of characters of a statement in a message
SHOWN = 72

#: a name, which is kept; a comment, which is removed; or a value, which is hidden
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

#: revision, locked table, statement
_Key = tuple[str, str, str]


def check(evidence: Evidence) -> Iterator[Found]:
    """Report statements that scan, index or rewrite a table while their transaction holds a lock that blocks writers.

    A statement is reported once per table, from a trip on filled tables if there is one.
    """
    by_key: dict[_Key, Found] = {}
    seen_on_rows: set[_Key] = set()
    for trip in evidence.seeded_trips:
        for key, result, on_rows in _results(trip.revision, trip.statements, trip.filled):
            if key not in by_key or (on_rows and key not in seen_on_rows):
                by_key[key] = result
            if on_rows:
                seen_on_rows.add(key)
    for empty_trip in evidence.empty_trips:
        for key, result, _ in _results(empty_trip.revision, empty_trip.statements, None, empty=True):
            by_key.setdefault(key, result)
    order = {revision.id: position for position, revision in enumerate(evidence.revisions)}
    yield from sorted(
        by_key.values(), key=lambda result: (order.get(str(result.place.revision), 0), result.place.line or 0)
    )


def _results(
    revision: Revision, statements: tuple[TracedStatement, ...], filled: Filled | None, *, empty: bool = False
) -> Iterator[tuple[_Key, Found, bool]]:
    for traced in statements:
        for table, mode in traced.locks:
            if mode not in BLOCKS or not traced.work:
                continue
            on_rows = filled is not None and filled.table in dict(traced.work)
            doing = f"`{words(traced.statement)}` {_work(traced)}"
            subject = f"{mode} blocks {BLOCKS[mode]} while {doing}, {_cost(traced, filled, empty=empty)}"
            details = finding("lock-during-work", subject, table=table)
            result = Found(rule="locks", finding=details, place=revision.place(traced.line))
            yield (revision.id, table, traced.statement), result, on_rows


def _work(traced: TracedStatement) -> str:
    return " and ".join(f"{WORK[work]} {table}" for table, work in traced.work)


def _cost(traced: TracedStatement, filled: Filled | None, *, empty: bool) -> str:
    took = f"{max(traced.seconds * 1000, 0.1):.1f} ms" if traced.seconds < 0.1 else f"{traced.seconds * 1000:,.0f} ms"
    if filled is not None and filled.table in dict(traced.work):
        return f"{took} with {filled.rows:,} rows in {filled.table}"
    return f"{took} on an empty table" if empty else took


def words(statement: str) -> str:
    """Return the beginning of a statement on one line, without comments and with all values hidden."""
    bare = " ".join(_TOKEN.sub(lambda token: token["name"] or (" " if token["comment"] else "…"), statement).split())
    return bare if len(bare) <= SHOWN else bare[:SHOWN].rsplit(" ", 1)[0] + " …"
