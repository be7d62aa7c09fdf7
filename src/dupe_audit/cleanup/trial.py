"""Try the changes of a pass on a temporary copy of the table, before any row of the table is changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from dupe_audit import insertable
from dupe_audit.cleanup.changes import MOST_COLLISIONS, why
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.errors import Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.postgres.catalog import change_holes
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import BATCHING, RANKING
from dupe_audit.postgres.session import settings
from dupe_audit.postgres.sqlstates import about_a_row
from dupe_audit.statements import statement

#: rows that fail are counted up to here
MOST_FAILURES = 20

#: the table that is tried is small, and every row of it is read
_WHOLE = {**RANKING, "enable_seqscan": "on", "enable_mergejoin": "on"}


class Trial(NamedTuple):
    """What the rows of a pass will be, before any of them is changed."""

    findings: list[Finding]
    covered: int = 0  #: changed extras that the key still covers, so that they can collide with a third row


def try_changes(work: CleanupWork, extras: int) -> Trial:
    """Compute every change of a pass in a temporary copy of the table, which has the table's checks.

    Args:
        extras: number of staged extras.

    Raises:
        Refused: a row cannot be changed, inside a transaction that holds the writers.
    """
    if not work.rule.changes_rows or not extras:
        return Trial([])
    try:
        with _tried(work, 1, extras) as tried:
            return Trial(_objections(work, tried), int(tried.covered) if work.rule.amends else 0)
    except DBAPIError as error:
        if not about_a_row(error):
            raise
        if work.is_held:  # and so its transaction has failed
            reason = finding("change-fails", f"at least 1 row: {why(error)}", table=work.relation.name)
            raise Refused([reason], lead="No row was changed.") from error
        # A further pass alone can fail, with values that are too long by then.
        unknown = finding("change-fails", f"at least 1 row: {why(error)}", table=work.relation.name)
        return Trial(_failures(work, extras) or [unknown])


@contextmanager
def _tried(work: CleanupWork, low: int, high: int) -> Iterator[Row[Any]]:
    """Insert a part of the changed rows into the copy, in a transaction that the block can use."""
    with work.transaction(local=BATCHING):
        work.execute("create_trial")
        work.execute("try_amended" if work.rule.amends else "try_merged", low=str(low), high=str(high))
        yield work.execute("count_tried").one()
        if work.is_held:
            execute(work.connection, "DROP TABLE pg_temp.dupe_audit_trial")


def _objections(work: CleanupWork, tried: Row[Any]) -> list[Finding]:
    """Return what the table will refuse, or the rule does not reach, although every new row can be computed."""
    table, same_keys = work.relation.name, int(tried.same_keys)
    findings = []
    if work.rule.amends and (remaining := same_keys or (_unsettled(work) if tried.covered else 0)):
        findings = [finding("amendment-incomplete", f"{quantity(remaining, 'extra')} of {table}", table=table)]
    elif work.rule.merges and same_keys < tried.tried:
        survivors = quantity(int(tried.tried) - same_keys, "survivor")
        findings = [finding("column-not-changeable", f"the merge changes the key of {survivors}", table=table)]
    what = "extra" if work.rule.amends else "survivor"
    # What a copy of the table does not have: foreign keys, bounds of a partition, and the other rows.
    violated = insertable.violated(
        work.connection,
        work.relation.relid,
        {**work.holes, "table": "pg_temp.dupe_audit_trial"},
        find_run=work.find_run,
        extras="(SELECT 1)",
        is_extra="true",
    )
    with settings(work.connection, _WHOLE, local=True):
        taken = _taken(work)
    reasons = [f"{quantity(count, what)}: the new row violates {subject}" for subject, count in [*violated, *taken]]
    return [*findings, *(finding("change-fails", reason, table=table) for reason in reasons)]


def _unsettled(work: CleanupWork) -> int:
    """Return how many amended rows would have the key of another row after all passes; 0 if that cannot be known."""
    with settings(work.connection, _WHOLE | {"constraint_exclusion": "on"}, local=True):
        unsettled = 0
        for passes in range(MOST_COLLISIONS):
            unsettled = int(work.execute("settle_tried").scalar_one())
            # A subquery would read rows of the table as they are now, and not as a pass leaves them.
            if not unsettled or not (passes or _depend_on_rows_alone(work)):
                return 0
        return unsettled


def _depend_on_rows_alone(work: CleanupWork) -> bool:
    """Return whether the new values depend on the rows of a group alone, so that later passes can be tried too."""
    values = work.holes["changes"].split(", ")
    plans = [work.execute("explain_immutable", value=value).scalar_one() for value in values]
    explained = [json.loads(plan) if isinstance(plan, str) else plan for plan in plans]
    return all(str(plan[0]["Plan"].get("One-Time Filter")) == "false" for plan in explained)


def _taken(work: CleanupWork) -> list[tuple[str, int]]:
    """Return the other unique indexes in which changed rows would have the entry of another row, with their number."""
    changed = change_holes(work.rule)
    names = {name: changed[name] for name in ("changed_columns", "merged_columns")}
    indexes = execute(work.connection, statement("touched_indexes", relid=work.holes["relid"], **names)).mappings()
    row = "e" if work.rule.amends else "v"
    stays = "true"
    if work.rule.merges:  # a survivor can take over the value of an extra, which leaves before that
        leaving = f"{work.sql('staged_to_archive')} dupe_audit_extra"
        stays = f"NOT EXISTS (SELECT FROM {leaving} WHERE {work.holes['is_staged']})"
    counts = []
    for index in indexes.all():
        holes = {name: str(value) for name, value in index.items() if name != "name"}
        is_changed_row = work.holes["e_is_extra" if work.rule.amends else "v_is_survivor"]
        taken = work.execute("count_taken", changed_row=row, is_changed_row=is_changed_row, stays=stays, **holes)
        counts.append((f"unique index {index['name']}", int(taken.scalar_one())))
    return [(subject, count) for subject, count in counts if count]


def _failures(work: CleanupWork, extras: int) -> list[Finding]:
    """Return a finding per reason, by halving the staged list until each part that fails is one row or one group."""
    failures: Counter[str] = Counter()
    parts = [(1, extras)]
    while parts and failures.total() < MOST_FAILURES:
        low, high = parts.pop()
        try:
            with _tried(work, low, high):
                pass
        except DBAPIError as error:
            if not about_a_row(error):
                raise
            middle = _middle(work, low, high)
            if middle is None:
                failures[why(error)] += 1
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
