"""Put every archived row back, byte for byte, once; report each row that cannot go back, and keep it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator
from functools import partial

from sqlalchemy import Connection

from dupe_audit import citus, ledger
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import BATCH_SIZE, GIVE_UP_AFTER, LOCK_TIMEOUT, Batch
from dupe_audit.postgres.driver import tidy
from dupe_audit.postgres.locking import run_lock
from dupe_audit.postgres.planner import NEWEST_FIRST
from dupe_audit.postgres.session import step
from dupe_audit.restore.returning import return_children
from dupe_audit.restore.work import RestoreWork, RowsDiffer, halving
from dupe_audit.statements import statement, text_array

__all__ = ["restore"]


def restore(
    connection: Connection,
    run_id: int,
    *,
    batch_size: int = BATCH_SIZE,
    lock_timeout: str = LOCK_TIMEOUT,
    give_up_after: str = GIVE_UP_AFTER,
    relid: int | None = None,
) -> Generator[Batch, None, None]:
    """Restore the archived rows of a run; yield each batch after its commit. Called again, it continues.

    The constraint has to be dropped first (``constraint.drop``).

    Args:
        connection: in autocommit.
        run_id: the number of the run in the ledger.
        batch_size: rows per transaction, at most.
        lock_timeout: how long a statement may wait for a lock, as PostgreSQL writes durations.
        give_up_after: total wait for one lock.
        relid: the table of the run, if the caller knows it; its owner is trusted with the ledger.

    Raises:
        Refused: some rows could not be put back, or some children not be pointed back; the archive and the record of
            moved children have the reason for each. Or the archive is not complete, or the ledger is not trusted.
        DupeAuditError: the ledger has no such run, its archive was purged, the table was dropped, or an archived
            column no longer exists, has another type or is another column now.
        Blocked: the table stayed locked, or another session works on it.
        Interrupted: the user stopped the work; committed batches are safe.
    """
    with step(connection):
        run = ledger.get_run(connection, run_id, relid=relid).run
        relation = ledger.require_table(connection, run)  # before a wait that would be in vain
        with run_lock(connection, relation.relid, give_up_after=give_up_after):
            run = ledger.get_run(connection, run_id, relid=relid).run
            relation = ledger.require_table(connection, run)  # under the lock: it may have been renamed
            if run.purged_at is not None:
                raise DupeAuditError(f"The archive of run {run_id} was purged at {run.purged_at}. Its rows are gone.")
            if run.state == "restored":
                return
            holes = ledger.require_way_back(connection, run, relation, lead="Nothing was restored.")
            if holes:
                managed = citus.find_citus(connection, relation.relid)
                work = RestoreWork(
                    connection=connection,
                    relation=relation,
                    lock_timeout=lock_timeout,
                    give_up_after=give_up_after,
                    holes=ledger.with_set_back(connection, holes),
                    run=run,
                    batch_size=citus.batch_size(managed, batch_size),
                    citus=managed,
                    strays=ledger.find_strays(connection, run_id, relation.relid) if relation.is_tree else None,
                )
                refused_rows, total = yield from _restore_rows(work)
                refused_children = yield from return_children(work)
                if findings := _refused(work, refused_rows, refused_children):
                    restored = f"{total - refused_rows:,} of {quantity(total, 'archived row')} restored."
                    raise Refused(findings, lead=restored)
                run = ledger.get_run(connection, run_id, relid=relid).run
                if findings := ledger.archive_findings(connection, run):
                    raise Refused(findings, lead=f"{quantity(total, 'row')} restored, but the archive has changed.")
            # A cleanup that was killed left its staged list, which no pass will use any more.
            tidy(connection, statement("drop_stage", stage=ledger.stage_name(run_id)))
            ledger.set_state(connection, run_id, "restored")


def _refused(work: RestoreWork, rows: int, children: int) -> list[Finding]:
    return [
        *([ledger.rows_not_restored(work.connection, work.run, work.relation, rows)] if rows else []),
        *([finding("children-not-returned", quantity(children, "child", "children"))] if children else []),
    ]


def _restore_rows(work: RestoreWork) -> Generator[Batch, None, tuple[int, int]]:
    """Restore the archived rows, the last one first; return how many cannot go back, and how many there were."""
    if work.citus and work.citus.is_sharded:
        return (yield from citus.restore_shards(work, work.run.id, work.batch_size, _difference(work)))
    total = int(work.execute("count_archived").scalar_one())
    below, done, refused = 2**63 - 1, 0, 0
    while True:
        started, archive = time.monotonic(), work.holes["archive"]
        # A row can be changed in several batches, so the batches are undone one by one.
        others = statement("before_batch", archive=archive, below=str(below)) if work.run.images else None
        of_batch = f"dupe_audit_id > ({others})" if others else "true"
        limits = {"below": str(below), "batch_size": str(work.batch_size)}
        with work.transaction(local=NEWEST_FIRST):
            low, high, size = tuple(work.execute("restore_window", of_batch=of_batch, **limits).one())
        if not size:
            return refused, total
        reverted: Counter[int] = Counter()
        back = halving(work, "restore archived rows", archive, partial(_restore, work, reverted), low, high)
        below, done, refused = low, done + size, refused + size - back
        yield Batch(
            run_id=work.run.id,
            restored=back - reverted.total(),
            reverted=reverted.total(),
            spared=size - back,
            done=done,
            total=total,
            seconds=time.monotonic() - started,
        )


def _restore(work: RestoreWork, reverted_at: Counter[int], low: int, high: int) -> int:
    """Put a part of the archive back; return how many rows, and note in *reverted_at* how many were changed back."""
    connection, run_id = work.connection, work.run.id
    if work.citus:
        try:
            return citus.put_back(work, run_id, low, high)
        except citus.RowsDifferOnCitus as error:
            raise RowsDiffer(_difference(work)) from error
    # Constraint triggers fire at COMMIT, still inside this block, so a row that they refuse is noticed too.
    with work.transaction(local={"jit": "off"}):
        if work.strays:
            _require_partition(work, work.strays, low, high)
        number = ledger.next_batch(connection, run_id)
        # The text of a large row can exceed what a value may hold, so a single row is compared without it.
        changed = work.sql("restore_changed" if low < high else "restore_changed_row")
        # Survivors give up the values that they took over, before the extras that had them return.
        reverted = _revert(work, low, high) if work.run.images else 0
        row = work.execute("restore_rows", low=str(low), high=str(high), changed=changed).mappings().one()
        if row["marked"] != row["put"] or row["changed"]:
            raise RowsDiffer(_difference(work))
        if row["marked"] or reverted:
            ledger.record_batch(connection, run_id, number, restored=row["put"])
        if reverted:
            ledger.record_images(connection, run_id, number, reverted=reverted)
    reverted_at[low] = reverted
    return int(row["put"]) + reverted


def _require_partition(work: RestoreWork, strays: ledger.Strays, low: int, high: int) -> None:
    """Require that no row goes to a DEFAULT partition because its own was detached or dropped.

    There, it would be separated from its survivor, and its own partition could not be attached again.

    Raises:
        RowsDiffer: one would.
    """
    holes = {"former": text_array(strays.former), "bounds": strays.bounds, "low": str(low), "high": str(high)}
    if leaf := work.execute("stray_leaf", **holes).scalar():
        raise RowsDiffer(f"its partition {leaf} was detached or dropped, so it would go to a DEFAULT partition")


def _revert(work: RestoreWork, low: int, high: int) -> int:
    """Change rows back that are as the run left them, and note why others stay; return how many were changed back."""
    row = work.execute("restore_images", low=str(low), high=str(high)).mappings().one()
    if row["put"] != row["marked"] or row["put"] + row["noted"] != row["chosen"] or row["changed"]:
        raise RowsDiffer("a trigger on the table changed the row, or kept it as it was")
    ledger.pass_on(work.connection, work.run.id, work.relation.relid, work.holes, low=low, high=high)
    return int(row["put"])


def _difference(work: RestoreWork) -> str:
    trigger = "a trigger on the table changed the row or kept it out"
    if generated := work.holes.get("generated_since"):
        return f"the value of column {generated}, which is generated now, differs from the archived one; or {trigger}"
    return trigger
