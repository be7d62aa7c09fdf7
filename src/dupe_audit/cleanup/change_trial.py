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
from dupe_audit.insertable import Leaving
from dupe_audit.postgres.catalog import change_holes
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import TRYING
from dupe_audit.postgres.session import settings
from dupe_audit.postgres.sqlstates import about_a_row
from dupe_audit.statements import statement

#: limit of rows that are counted if they fail
MOST_FAILURES = 20

#: either all extras of a pass or a few are read, so the planner chooses; the staged list is analyzed
_TRYING = {"jit": "off"}

#: every row of the table is compared with what was tried, and no index is trusted
_WHOLE = TRYING


class Trial(NamedTuple):
    """The result of trying the changes of a pass, before any row is changed."""

    findings: list[Finding]
    collides: bool = False  #: whether changed extras can have the key of another row, so that another pass is needed


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
        with _changed_copy(work, 1, extras) as tried:
            return Trial(*_judge_copy(work, tried))
    except DBAPIError as error:
        if not about_a_row(error):
            raise
        if work.is_held:  # the error has also ended the outer transaction
            reason = finding("change-fails", f"at least 1 row: {why(error)}", table=work.relation.name)
            raise Refused([reason], lead="No row was changed.") from error
        # Only a further pass may fail, for example because a value has become too long by then.
        unknown = finding("change-fails", f"at least 1 row: {why(error)}", table=work.relation.name)
        return Trial(_failures(work, extras) or [unknown])


@contextmanager
def _changed_copy(work: CleanupWork, low: int, high: int) -> Iterator[Row[Any]]:
    """Insert a part of the changed rows into the copy, in a transaction that the block can use."""
    # One snapshot, because the result of the trial is compared with the rows as they were during the trial.
    with work.transaction(isolation="REPEATABLE READ", local=_TRYING):
        work.execute("create_trial")
        work.execute("try_amended" if work.rule.amends else "try_merged", low=str(low), high=str(high))
        yield work.execute("count_tried").one()
        if work.is_held:
            work.execute("drop_trial")


def _judge_copy(work: CleanupWork, tried: Row[Any]) -> tuple[list[Finding], bool]:
    """Return why the table would reject new rows that can be computed, or which would still be duplicates.

    Also return whether changed rows can have the key of another row.
    """
    table, with_key_of_survivor = work.relation.name, int(tried.same_keys)
    if work.rule.merges:
        findings = []
        if others := int(tried.tried) - with_key_of_survivor:
            subject = f"the merge changes the key of {quantity(others, 'survivor')}"
            findings = [finding("column-not-changeable", subject, table=table)]
        return findings + _violations(work, "survivor"), False
    findings, collides, unsettled = _violations(work, "extra"), False, with_key_of_survivor
    if tried.covered and not unsettled and not findings:
        unsettled, collides = _count_unsettled(work)
        findings = _violations(work, "extra") if collides else []
    if unsettled:
        findings.insert(0, finding("amendment-incomplete", f"{quantity(unsettled, 'extra')} of {table}", table=table))
    return findings, collides


def _violations(work: CleanupWork, what: str) -> list[Finding]:
    """Return what new rows violate that the copy does not have: foreign keys, bounds of a partition, unique indexes."""
    holes = {**work.holes, "table": "pg_temp.dupe_audit_trial"}
    (violated,) = insertable.violated(
        work.connection, [Leaving(work.relation.relid, holes, "(SELECT 1)", "true")], find_run=work.find_run
    )
    with settings(work.connection, _WHOLE, local=True):
        taken = _taken_entries(work)
    reasons = [f"{quantity(count, what)}: the new row violates {subject}" for subject, count in [*violated, *taken]]
    return [finding("change-fails", reason, table=work.relation.name) for reason in reasons]


def _count_unsettled(work: CleanupWork) -> tuple[int, bool]:
    """Return how many amended rows would have the key of another row after all passes, and if any can after the first.

    The number is 0 if it cannot be known in advance: a subquery would read the rows of the table as they are now, not
    as a pass leaves them.
    """
    with settings(work.connection, _WHOLE | {"constraint_exclusion": "on"}, local=True):
        colliding = int(work.execute("settle_tried").scalar_one())
        if not _depend_on_rows_alone(work):
            return 0, True
        passes = 1
        unsettled = colliding
        while unsettled and passes < MOST_COLLISIONS:
            unsettled = int(work.execute("settle_tried").scalar_one())
            passes += 1
        return unsettled, colliding > 0


def _depend_on_rows_alone(work: CleanupWork) -> bool:
    """Return whether the new values depend only on the rows of a group, so that later passes can be tried too."""
    values = work.holes["changes"].split(", ")
    plans = [work.execute("explain_immutable", value=value).scalar_one() for value in values]
    explained = [json.loads(plan) if isinstance(plan, str) else plan for plan in plans]
    return all(str(plan[0]["Plan"].get("One-Time Filter")) == "false" for plan in explained)


def _taken_entries(work: CleanupWork) -> list[tuple[str, int]]:
    """Return the other unique indexes in which changed rows would have the entry of another row, with their number."""
    changed = change_holes(work.rule)
    names = {name: changed[name] for name in ("changed_columns", "merged_columns")}
    indexes = execute(work.connection, statement("touched_indexes", relid=work.holes["relid"], **names)).mappings()
    row = "e" if work.rule.amends else "v"
    stays = "true"
    if work.rule.merges:  # a survivor can take over the value of an extra, because the extra leaves first
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
            with _changed_copy(work, low, high):
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
