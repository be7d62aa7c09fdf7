"""Archive the staged extras in batches, each in one transaction that keeps the application waiting only for a moment.

A batch is one READ COMMITTED transaction with two snapshots. The first statement locks each extra with its survivor; a
second one, with a new snapshot, deletes what is still an extra straight into the archive. One statement that does
both decides by one snapshot: 246 keys lost their last row that way in 15 s (measured).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from sqlalchemy import RowMapping
from sqlalchemy.exc import DBAPIError

from dupe_audit import children, ledger
from dupe_audit.cleanup import changes
from dupe_audit.cleanup.extent import NARROW, is_indivisible, last_of_batch, row_bytes
from dupe_audit.cleanup.pace import Pace
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import quantity
from dupe_audit.model import Batch
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.interrupt import sleep
from dupe_audit.postgres.planner import ANYWHERE, BATCHING
from dupe_audit.postgres.replication import wait_for_replicas
from dupe_audit.postgres.sqlstates import (
    FOREIGN_KEY_VIOLATION,
    RESTRICT_VIOLATION,
    SERIALIZATION_FAILURE,
    about_a_row,
    sqlstate,
)


class Disturbed(DupeAuditError):
    """In the middle of a batch others moved a row to another partition, or added a child that locks no parent."""

    def __init__(self) -> None:
        super().__init__(
            "In the middle of a batch, another session moved a row to another partition, or added a row that "
            "references an extra without a lock on it. The batch was rolled back. Run the same command again."
        )


class Interfered(Disturbed):
    """The delete of extras has deleted or changed rows of other tables, by a child without a lock or by a trigger."""


class Moved(NamedTuple):
    """What one transaction did."""

    archived: int = 0  #: extras
    amended: int = 0  #: extras
    merged: int = 0  #: survivors
    repointed: int = 0  #: children
    seconds: float = 0.0  #: from its first lock to its commit


#: locks, checks and archives a range of the staged list in one transaction, wherever the ranking saw its rows
Mover = Callable[[CleanupWork, int, int, str], Moved]


def batches(
    work: CleanupWork, total: int, pace: Pace, where_staged: str, mover: Mover | None = None
) -> Iterator[Batch]:
    """Archive the staged extras; yield each batch after its commit.

    A batch that others disturbed is tried again with half of its rows; a single row that still fails is spared.

    Args:
        mover: executes one batch; by default, on an ordinary table.

    Raises:
        Refused: a constraint forbids that the children follow the survivor.
        DupeAuditError: see ``cleanup``.
        Blocked: the table stayed locked, or a standby stayed behind.
    """
    high = 0
    bytes_of_row = work.retry(lambda: row_bytes(work), "look for wide rows") if total else NARROW
    while high < total:
        low = high + 1
        last, rows = last_of_batch(work, low, total, pace.size, bytes_of_row)
        last = changes.last_of_group(work, last, total) if work.rule.merges_groups else last
        if work.rule.max_replica_lag is not None:
            wait_for_replicas(work.connection, work.rule.max_replica_lag)
        started = time.monotonic()
        size = last - low + 1
        try:
            batch = partial(mover or move, work, low, last, where_staged)
            moved = work.retry(batch, f"{work.rule.verb} extras {low:,} to {last:,}")
            pace.measure(rows, moved.seconds)
        except Disturbed as error:
            pace.halve(size)
            if not is_indivisible(work, low, last, total):
                continue
            # Once, it can have been a child that arrived; in a later pass such a child is a reference, and is counted.
            if isinstance(error, Interfered) and where_staged == ANYWHERE:
                _blame_trigger(work)
            moved = Moved()
        except Refused:
            ledger.set_state(work.connection, work.run_id, "failed")
            raise
        except DBAPIError as error:
            if not work.rule.changes_rows or not about_a_row(error):
                raise
            ledger.set_state(work.connection, work.run_id, "failed")
            raise changes.failed(work, error) from error
        high = last
        yield Batch(
            run_id=work.run_id,
            archived=moved.archived,
            amended=moved.amended,
            merged=moved.merged,
            spared=size - moved.archived - moved.amended,
            repointed=moved.repointed,
            done=high,
            total=total,
            seconds=time.monotonic() - started,
        )
        if work.rule.pause and high < total:
            sleep(work.rule.pause)


def move(work: CleanupWork, low: int, high: int, where_staged: str) -> Moved:
    """Lock, check and archive in one transaction."""
    connection = work.connection
    leaving, repointed, started = None, 0, time.monotonic()
    with (
        children.refusing(bool(work.moving)),
        _disturbances(work, final=bool(work.moving) and low == high),
        work.transaction(local=BATCHING | children.counting(connection, work.foreign_keys)),
    ):
        if work.share_levels:
            execute(connection, work.share_levels)
        number = ledger.next_batch(connection, work.run_id)
        work.execute("lock_rows", low=str(low), high=str(high), where_staged=where_staged)
        if work.rule.merges_groups:
            work.execute("spare_incomplete", low=str(low), high=str(high))
        # An amended row is a new version, which the following statements no longer find.
        amended = changes.amend(work, number, low, high) if work.rule.amends else 0
        if work.moving:
            leaving, repointed = children.follow(connection, work.run_id, work.moving, work.holes, number)
        changed_before = _changed_children(work)
        archived = merged = 0
        if work.rule.exact == "archive":
            moved = work.execute("move_rows", batch=str(number)).mappings().one()
            if leaving not in (None, moved["judged"]) and work.execute("stray_children").scalar_one():
                persistent = low == high and where_staged == ANYWHERE
                if not (persistent and children.triggers(connection, work.relation.relid)):
                    raise Disturbed
            _check(moved, leaving, work.holes["columns_digest"])
            archived = int(moved["archived"])
            if _changed_children(work, archived) != changed_before:
                raise Interfered
            if work.rule.merges and archived:
                merged = changes.merge(work, number, int(moved["first_id"]))
        spared = high - low + 1 - archived - amended
        ledger.record_batch(connection, work.run_id, number, archived=archived, spared=spared)
        if amended or merged:
            ledger.record_images(connection, work.run_id, number, amended=amended, merged=merged)
    return Moved(archived, amended, merged, repointed, seconds=time.monotonic() - started)


def _changed_children(work: CleanupWork, deleted: int = 0) -> int:
    """Count the rows that this session has deleted or changed in tables with a referential action.

    The action of a foreign key has a later snapshot than the statement that deleted the parent. It finds a child
    that a writer without key-share locks has committed in between (session_replication_role, disabled triggers).
    A change of a row that stays starts no such action, so only the delete is between two counts.

    Args:
        deleted: rows of the table itself that were deleted on purpose; they count if it references itself.
    """
    if not children.actions(work.foreign_keys):
        return 0
    row = work.execute("changed_children").one()
    return int(row.changed) - (deleted if row.itself else 0)


def _blame_trigger(work: CleanupWork) -> None:
    """Refuse to continue if a trigger changes other tables whenever a single extra is deleted.

    Raises:
        DupeAuditError: the table has a delete trigger.
    """
    if triggers := work.execute("delete_triggers").scalar_one():
        raise DupeAuditError(
            f"The delete of one extra of {work.relation.name} also deleted or changed rows of a table that references "
            "it with ON DELETE CASCADE, SET NULL or SET DEFAULT, and the archive would not have these. Most likely "
            f"trigger {triggers} did it; otherwise a session that writes such rows without a lock on their parent. The "
            "batch was rolled back. Let the trigger skip this client, as the page of finding delete-trigger shows; "
            "then run the same command again."
        )


@contextmanager
def _disturbances(work: CleanupWork, *, final: bool) -> Iterator[None]:
    """Turn what others did in the middle of a batch into a reason to try again; *final* leaves violations as they are.

    Raises:
        Disturbed: a row was moved to another partition, or a child was added without a lock on its parent.
    """
    try:
        yield
    except DBAPIError as error:
        code = sqlstate(error)
        if code == SERIALIZATION_FAILURE:
            raise Disturbed from error
        if code in (FOREIGN_KEY_VIOLATION, RESTRICT_VIOLATION) and not final and not changes.lack_parent(work, error):
            raise Disturbed from error
        raise


def _check(moved: RowMapping, leaving: int | None, columns_digest: str) -> None:
    """Refuse a batch in which not every extra that was checked was also deleted and archived; it is rolled back."""
    if moved["columns_digest"] != columns_digest:
        raise DupeAuditError(changes.COLUMNS_CHANGED)
    if leaving not in (None, moved["judged"]):
        raise DupeAuditError(
            f"{quantity(leaving or 0, 'extra')} had to be removed after their children moved, but only "
            f"{moved['judged']:,} can be. The batch was rolled back. A trigger changes rows in between: see findings "
            "delete-trigger and child-trigger."
        )
    if not moved["judged"] == moved["deleted"] == moved["archived"]:
        raise DupeAuditError(
            f"The batch checked {quantity(moved['judged'], 'extra')}, but deleted {moved['deleted']:,} and archived "
            f"{moved['archived']:,}; it was rolled back. A trigger on the table suppresses deletes: see finding "
            "delete-trigger."
        )
