"""Put every archived row back, byte for byte, once; report each row that cannot go back, and keep it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import children, citus, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import Batch, Run
from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.postgres.locking import run_lock, undisturbed
from dupe_audit.postgres.planner import BATCHING
from dupe_audit.postgres.session import step
from dupe_audit.postgres.sqlstates import about_a_row, reason, sqlstate
from dupe_audit.postgres.trees import share_levels
from dupe_audit.postgres.work import Work
from dupe_audit.statements import literal, statement, text_array

log = logging.getLogger("alembic.dupe_audit")


class _RowsDiffer(Exception):
    """What arrived in the table is not what the archive holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreWork(Work):
    """What the restore of one run works with."""

    run: Run
    batch_size: int
    citus: citus.CitusTable | None  #: None for a table that Citus does not manage
    strays: ledger.Strays | None  #: for a tree, the rows whose partition was detached or dropped


def restore(
    connection: Connection,
    run_id: int,
    *,
    batch_size: int = 5000,
    lock_timeout: str = "500ms",
    give_up_after: str = "10min",
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
                refused_children = yield from _return_children(work)
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
        low, high, size = tuple(work.execute("restore_window", of_batch=of_batch, **limits).one())
        if not size:
            return refused, total
        reverted: Counter[int] = Counter()
        back = _halving(work, "restore archived rows", archive, partial(_restore, work, reverted), low, high)
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


def _return_children(work: RestoreWork) -> Generator[Batch, None, int]:
    """Point moved children back at the rows that are in the table again, the last one first; return how many cannot."""
    ranges = children.to_return(work.connection, work.run.id, work.run.relid)
    total, done, refused = sum(size for *_, size in ranges), 0, 0
    levels = share_levels(work.connection, work.relation.relid) if ranges else ""
    for foreign_key, first, last, _ in ranges:
        record = foreign_key.holes["record"]
        for high in range(last, first - 1, -work.batch_size):
            started, low = time.monotonic(), max(first, high - work.batch_size + 1)
            window = {"record": record, "low": str(low), "high": str(high)}
            work.execute("forget_problems", **window)
            size = int(work.execute("count_moved_children", **window).one().rows)
            action = partial(_return, work, levels, foreign_key)
            returned = _halving(work, "point back children", record, action, low, high)
            done += size
            refused += int(work.execute("count_moved_children", **window).one().refused)
            yield Batch(
                run_id=work.run.id,
                repointed=returned,
                spared=size - returned,
                done=done,
                total=total,
                seconds=time.monotonic() - started,
            )
    _log_not_returned(work)
    return refused


def _log_not_returned(work: RestoreWork) -> None:
    """Log which children stay at the survivor because the application has changed or deleted them since."""
    for row in ledger.moved_children(work.connection, work.run.id):
        if remaining := row["moved"] - row["returned"]:
            record = ledger.record_name(work.run.id, row["number"])
            log.warning(
                "%s of %s (%s) not pointed back: see %s",
                quantity(remaining, "row"),
                row["child"],
                row["constraint_name"],
                record,
            )


def _halving(
    work: RestoreWork, action_name: str, table: str, action: Callable[[int, int], int], low: int, high: int
) -> int:
    """Bring a range of rows back; halve it until a row that fails is alone, and note why. Return how many went back."""
    attempt = partial(action, low, high)
    try:
        return work.retry(partial(undisturbed, attempt, work.give_up_after), f"{action_name} {low} to {high}")
    except _RowsDiffer as error:
        problem = str(error)
    except DBAPIError as error:
        if not about_a_row(error):
            raise
        problem = f"{sqlstate(error)}: {reason(error)}"
    if low < high:
        middle = (low + high) // 2
        # The upper half first, because the last row goes back first.
        upper = _halving(work, action_name, table, action, middle + 1, high)
        return _halving(work, action_name, table, action, low, middle) + upper
    sql = statement("note_problem", table=table, problem=literal(problem), id=str(low))
    execute(work.connection, sql)
    return 0


def _restore(work: RestoreWork, reverted_at: Counter[int], low: int, high: int) -> int:
    """Put a part of the archive back; return how many rows, and note in *reverted_at* how many were changed back."""
    connection, run_id = work.connection, work.run.id
    if work.citus:
        try:
            return citus.put_back(work, run_id, low, high)
        except citus.RowsDifferOnCitus as error:
            raise _RowsDiffer(_difference(work)) from error
    # Constraint triggers fire at COMMIT, still inside this block, so a row that they refuse is noticed too.
    with work.transaction():
        if work.strays:
            _require_partition(work, work.strays, low, high)
        number = ledger.next_batch(connection, run_id)
        # The text of a large row can exceed what a value may hold, so a single row is compared without it.
        changed = work.sql("restore_changed" if low < high else "restore_changed_row")
        # Survivors give up the values that they took over, before the extras that had them return.
        reverted = _revert(work, low, high) if work.run.images else 0
        row = work.execute("restore_rows", low=str(low), high=str(high), changed=changed).mappings().one()
        if not row["chosen"] == row["put"] == row["marked"] or row["changed"]:
            raise _RowsDiffer(_difference(work))
        if row["chosen"] or reverted:
            ledger.record_batch(connection, run_id, number, restored=row["put"])
        if reverted:
            ledger.record_images(connection, run_id, number, reverted=reverted)
    reverted_at[low] = reverted
    return int(row["put"]) + reverted


def _require_partition(work: RestoreWork, strays: ledger.Strays, low: int, high: int) -> None:
    """Require that no row goes to a DEFAULT partition because its own was detached or dropped.

    There, it would be separated from its survivor, and its own partition could not be attached again.

    Raises:
        _RowsDiffer: one would.
    """
    holes = {"former": text_array(strays.former), "bounds": strays.bounds, "low": str(low), "high": str(high)}
    if leaf := work.execute("stray_leaf", **holes).scalar():
        raise _RowsDiffer(f"its partition {leaf} was detached or dropped, so it would go to a DEFAULT partition")


def _revert(work: RestoreWork, low: int, high: int) -> int:
    """Change rows back that are as the run left them, and note why others stay; return how many were changed back."""
    row = work.execute("restore_images", low=str(low), high=str(high)).mappings().one()
    if row["put"] != row["marked"] or row["put"] + row["noted"] != row["chosen"] or row["changed"]:
        raise _RowsDiffer("a trigger on the table changed the row, or kept it as it was")
    ledger.pass_on(work.connection, work.run.id, work.relation.relid, work.holes, low=low, high=high)
    return int(row["put"])


def _difference(work: RestoreWork) -> str:
    trigger = "a trigger on the table changed the row or kept it out"
    if generated := work.holes.get("generated_since"):
        return f"the value of column {generated}, which is generated now, differs from the archived one; or {trigger}"
    return trigger


def _return(work: RestoreWork, levels: str, foreign_key: ForeignKey, low: int, high: int) -> int:
    with work.transaction(local=BATCHING):
        if levels:
            execute(work.connection, levels)
        sql = foreign_key.sql("return_children", work.holes, run=str(work.run.id), low=str(low), high=str(high))
        row = execute(work.connection, sql).one()
        if row.back != row.marked:
            raise DupeAuditError(
                f"The batch pointed {quantity(row.back, 'row')} of {foreign_key.child} back, but recorded "
                f"{row.marked:,}; it was rolled back."
            )
    return int(row.back)
