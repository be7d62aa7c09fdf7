"""Locks: a strong lock held while a table is scanned, indexed or rewritten blocks the application for that long.

A moment under ACCESS EXCLUSIVE is not a finding, nor is a one-hour build that leaves the application running.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dupe_audit.checks.evidence import Evidence, Revision, TracedStatement
from dupe_audit.checks.report import ReportedFinding
from dupe_audit.findings import finding, quantity
from dupe_audit.postgres.locks import ACCESS_EXCLUSIVE, STRONG_MODES
from dupe_audit.seeding.facts import Filled

RULE = "locks"

#: lock → what it blocks
BLOCKS = {mode: "reads and writes" if mode == ACCESS_EXCLUSIVE else "all writes" for mode in STRONG_MODES}
WORK = {"scan": "scans", "build": "builds an index on", "rewrite": "rewrites"}

#: replaces the finding's help, which names statements that PostgreSQL refuses on a partitioned table
OF_A_TREE = (
    "A partitioned table cannot be indexed CONCURRENTLY. Create its index with ON ONLY, build one on each partition "
    "with CONCURRENTLY in an autocommit_block(), then attach each with ALTER INDEX ... ATTACH PARTITION. For a unique "
    "index, op.create_unique_constraint_online() and op.create_unique_index_online() do all that. Add a check as NOT "
    "VALID, and VALIDATE it in a later revision. Change rows in batches, in a separate revision."
)

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


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Report statements that scan, index or rewrite a table while their transaction holds a lock that blocks writers.

    A statement is reported once for a table and its partitions, from a trip on filled tables if there is one.
    """
    roots = {table: root for trip in evidence.empty_trips for table, root in trip.before.roots().items()}
    by_key: dict[_Key, ReportedFinding] = {}
    seen_on_rows: set[_Key] = set()
    for trip in evidence.seeded_trips:
        for key, result, on_rows in _results(trip.revision, trip.statements, trip.filled, roots):
            if key not in by_key or (on_rows and key not in seen_on_rows):
                by_key[key] = result
            if on_rows:
                seen_on_rows.add(key)
    for empty_trip in evidence.empty_trips:
        for key, result, _ in _results(empty_trip.revision, empty_trip.statements, None, roots, empty=True):
            by_key.setdefault(key, result)
    order = {revision.id: position for position, revision in enumerate(evidence.revisions)}
    yield from sorted(
        by_key.values(), key=lambda result: (order.get(str(result.place.revision), 0), result.place.line or 0)
    )


def _results(
    revision: Revision,
    statements: tuple[TracedStatement, ...],
    filled: Filled | None,
    roots: Mapping[str, str],
    *,
    empty: bool = False,
) -> Iterator[tuple[_Key, ReportedFinding, bool]]:
    """Yield the findings of one trip, each with whether the statement worked on the rows of the trip.

    Args:
        roots: partition → partitioned table at the top of its tree.
    """
    for traced in statements:
        locked = {table for table, mode in traced.locks if mode in BLOCKS}
        worked_on = {name for table, _ in traced.work for name in (table, roots.get(table))}
        on_rows = filled is not None and filled.table in worked_on
        for table, mode in traced.locks:
            if mode not in BLOCKS or not traced.work or roots.get(table) in locked:
                continue
            doing = f"`{words(traced.statement)}` {_work(traced, roots)}"
            cost = _cost(traced, filled if on_rows else None, empty=empty)
            details = finding("lock-during-work", f"{mode} blocks {BLOCKS[mode]} while {doing}, {cost}", table=table)
            if table in roots.values():
                details = replace(details, help=OF_A_TREE)
            result = ReportedFinding(rule=RULE, finding=details, place=revision.place(traced.line))
            yield (revision.id, table, traced.statement), result, on_rows


def _work(traced: TracedStatement, roots: Mapping[str, str]) -> str:
    """Return in words what a statement does; several partitions of one table are described together."""
    tables: dict[tuple[str, str], list[str]] = {}
    for table, work in traced.work:
        tables.setdefault((work, roots.get(table, table)), []).append(table)
    parts = []
    for (work, _), same in tables.items():
        first, *others = sorted(same)
        more = f" and {quantity(len(others), 'other partition')}" if others else ""
        parts.append(f"{WORK[work]} {first}{more}")
    return " and ".join(parts)


def _cost(traced: TracedStatement, filled: Filled | None, *, empty: bool) -> str:
    """Return how long a statement took.

    Args:
        filled: the table with generated rows, if the statement worked on it.
    """
    took = f"{max(traced.seconds * 1000, 0.1):.1f} ms" if traced.seconds < 0.1 else f"{traced.seconds * 1000:,.0f} ms"
    if filled is not None:
        return f"{took} with {filled.rows:,} rows in {filled.table}"
    return f"{took} on an empty table" if empty else took


def words(statement: str) -> str:
    """Return the beginning of a statement on one line, without comments and with all values hidden."""
    bare = " ".join(_TOKEN.sub(lambda token: token["name"] or (" " if token["comment"] else "…"), statement).split())
    return bare if len(bare) <= SHOWN else bare[:SHOWN].rsplit(" ", 1)[0] + " …"
