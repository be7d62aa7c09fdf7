"""Try the changes of a pass on a temporary copy of the table, before any row of the table is changed."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import BATCHING
from dupe_audit.postgres.sqlstates import NOT_NULL_VIOLATION, about_a_row, sqlstate

#: rows that fail are counted up to here
MOST_FAILURES = 20

#: why a value cannot be in its column, by SQLSTATE
REASONS = {
    "22001": "the value is too long for the column",
    "22003": "the number is out of range",
    "22P02": "the value cannot be read as the column's type",
    "22023": "a value has the wrong form, such as a JSON array in place of an object",
}


class Trial(NamedTuple):
    """What the rows of a pass will be, before any of them is changed."""

    findings: list[Finding]
    covered: int = 0  #: changed extras that the key still covers, so that they can collide with a third row


def try_changes(work: CleanupWork, extras: int) -> Trial:
    """Compute every change of a pass in a temporary copy of the table, which has the table's checks.

    Args:
        extras: number of staged extras.
    """
    if not work.rule.changes_rows or not extras:
        return Trial([])
    try:
        tried = _attempt(work, 1, extras)
    except DBAPIError as error:
        if not about_a_row(error):
            raise
        return Trial(_failures(work, extras))
    if work.rule.amends and tried.still_extras:
        subject = f"{quantity(int(tried.still_extras), 'extra')} of {work.relation.name}"
        return Trial([finding("amendment-incomplete", subject, table=work.relation.name)])
    return Trial([], int(tried.covered) if work.rule.amends else 0)


def _attempt(work: CleanupWork, low: int, high: int) -> Row[Any]:
    with work.transaction(local=BATCHING):
        work.execute("create_trial")
        work.execute("try_amended" if work.rule.amends else "try_merged", low=str(low), high=str(high))
        return work.execute("count_tried").one()


def _failures(work: CleanupWork, extras: int) -> list[Finding]:
    """Return a finding per reason, by halving the staged list until each part that fails is one row or one group."""
    failures: Counter[str] = Counter()
    parts = [(1, extras)]
    while parts and failures.total() < MOST_FAILURES:
        low, high = parts.pop()
        try:
            _attempt(work, low, high)
        except DBAPIError as error:
            if not about_a_row(error):
                raise
            middle = _middle(work, low, high)
            if middle is None:
                failures[_reason(error)] += 1
            else:
                parts += [(middle, high), (low, middle - 1)]
    what = "extra" if work.rule.amends else "group"
    least = "at least " if parts else ""
    return [
        finding("change-fails", f"{least}{quantity(count, what)}: {problem}", table=work.relation.name)
        for problem, count in failures.items()
    ]


def _middle(work: CleanupWork, low: int, high: int) -> int | None:
    """Return where the second half of a range begins; None if it cannot be divided. A merge needs whole groups."""
    if low >= high:
        return None
    if work.rule.amends:
        return (low + high) // 2 + 1
    for after in ((low + high) // 2, low):
        start = execute(work.connection, work.sql("next_group", n=str(after))).scalar()
        if start is not None and low < start <= high:
            return int(start)
    return None


def _reason(error: DBAPIError) -> str:
    """Return why a row fails, without a value of it."""
    diagnosis = getattr(error.orig, "diag", None)
    if constraint := getattr(diagnosis, "constraint_name", None):
        return f"constraint {constraint} forbids the new row"
    code = sqlstate(error) or ""
    if code == NOT_NULL_VIOLATION:
        return f"column {getattr(diagnosis, 'column_name', '')} must not be NULL"
    return REASONS.get(code, f"the value cannot be computed (SQLSTATE {code})")
