"""Clean a distributed table of Citus: a shard is an ordinary table on one node.

The list of a shard's extras and its part of the archive are on the same node. A batch is one block that the node
executes as its own transaction, so no two-phase commit holds a lock. The ledger on the coordinator cannot be
part of that transaction: it records each batch before its DO block is sent, and afterwards how many of its rows the
archive has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from dupe_audit import citus, ledger
from dupe_audit.citus import ShardFailure, on_shards
from dupe_audit.cleanup.pace import MOST_BYTES, Pace
from dupe_audit.cleanup.shard_lists import ShardExtras, staged
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.errors import Blocked
from dupe_audit.findings import quantity
from dupe_audit.model import Batch
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.interrupt import sleep
from dupe_audit.postgres.locking import holders
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.planner import BATCHING
from dupe_audit.postgres.sqlstates import PASSING
from dupe_audit.statements import literal, statement

#: numbers of archived rows that each batch has for itself
_ROWS_OF_A_BATCH = 1 << 20


def sharded_passes(work: CleanupWork, work_mem: str | None) -> Iterator[Batch]:
    """Archive every extra of every shard; yield each round of batches after its commits.

    Raises:
        Refused: divergent groups, or rows that could not be put back; nothing was archived in this pass.
        Blocked: extras stayed locked.
    """
    patience = Patience(work.give_up_after, pause=0.2, growth=2.0)
    pace = Pace(work.rule.batch_size)
    while True:
        archived, spared, problem = 0, 0, ""
        with staged(work, work_mem) as (parts, connecting):
            # What blocks of an earlier process have archived: the lists are new, so those have ended.
            _record_results(work)
            for batch, failed in _rounds(work, parts, pace, connecting):
                archived, spared, problem = archived + batch.archived, spared + batch.spared, failed or problem
                yield batch
        if not spared:
            _record_results(work)  # a block of an earlier process that began just after the lists were new
            return
        if archived:
            patience.restart()
        elif patience.exhausted:
            raise Blocked(
                f"{quantity(spared, 'extra')} of {work.relation.name} could not be archived within "
                f"{work.give_up_after}: they or their survivors are locked{f' ({problem})' if problem else ''}. "
                f"Locks on the table are held by {holders(work.connection, work.relation.relid)}. Wait for those "
                "sessions or end them, each on its node; then run the same command again: it continues where it "
                "stopped."
            )
        else:
            patience.pause()


def _rounds(work: CleanupWork, parts: list[ShardExtras], pace: Pace, connecting: float) -> Iterator[tuple[Batch, str]]:
    """Send one batch to every shard at once, until each has had all of its extras; yield with it why one failed."""
    total = sum(part.extras for part in parts)
    while waiting := [part for part in parts if part.done < part.extras]:
        started = time.monotonic()
        first = ledger.next_batch(work.connection, work.run_id)
        last = first + len(waiting) - 1
        execute(
            work.connection,
            statement("citus_enter_batches", run=str(work.run_id), first=str(first), last=str(last)),
        )
        blocks, sizes = [], {}
        ends = _ends(work, waiting, pace.size)
        for number, part, end in zip(range(first, last + 1), waiting, ends, strict=True):
            low, part.done = part.done + 1, end
            sizes[number] = part.done - low + 1
            blocks.append((part.table.shard, _block(work, part, number, low, part.done)))
        answers = on_shards(work.connection, blocks)
        failed = ""
        archived = _record_results(work, sizes)
        for (shard, sql), answer in zip(blocks, answers, strict=True):
            if not answer.success:
                if answer.code not in PASSING:
                    raise ShardFailure(shard, answer, sql)
                failed = f"{shard.where}: {answer.message}"
        seconds, size = time.monotonic() - started, sum(sizes.values())
        # The locks of a block last only as long as its work, not as long as its connection takes.
        pace.measure(max(sizes.values()), max(seconds - connecting, 0.001))
        done = sum(part.done for part in parts)
        batch = Batch(
            run_id=work.run_id, archived=archived, spared=size - archived, done=done, total=total, seconds=seconds
        )
        yield batch, failed
        if work.rule.pause and done < total:
            sleep(work.rule.pause)


def _ends(work: CleanupWork, parts: list[ShardExtras], size: int) -> list[int]:
    """Return the last extra of the next batch of every shard: as many rows and bytes as a batch may take."""
    limits = {"batch_size": str(size), "most_bytes": str(MOST_BYTES)}
    wide = [part for part in parts if part.is_wide]
    queries = [
        (part.table.shard, part.sql("batch_end", low=str(part.done + 1), bytes=part.sql("row_bytes"), **limits))
        for part in wide
    ]
    measured = {
        part.table.shard.id: int(row.high)
        for part, (row,) in zip(wide, citus.read(work.connection, queries), strict=True)
    }
    return [measured.get(part.table.shard.id, min(part.extras, part.done + size)) for part in parts]


def _block(work: CleanupWork, part: ShardExtras, number: int, low: int, high: int) -> str:
    """Return the block of one batch."""
    numbered = f", {number * _ROWS_OF_A_BATCH} + pg_catalog.row_number() OVER ()"
    own = {"and_archived_n": ", dupe_audit_id", "and_deleted_n": numbered}
    table = part.table.with_holes(**part.holes, **own)
    return statement(
        "citus_batch",
        settings=citus.do_settings({"lock_timeout": work.lock_timeout, "row_security": "off", **BATCHING}),
        create_locked=statement("create_locked"),
        lock_rows=literal(table.sql("lock_rows", low=str(low), high=str(high))),
        move_rows=literal(table.sql("move_rows", batch=str(number))),
        columns_digest=literal(part.table.holes["columns_digest"]),
    )


def _record_results(work: CleanupWork, sizes: Mapping[int, int] | None = None) -> int:
    """Record what the archive has of batches that the ledger has no result of; return how many rows that is.

    Args:
        sizes: extras of each batch; None for those of an earlier process.
    """
    if sizes is None:
        unsettled = execute(work.connection, statement("citus_unsettled", run=str(work.run_id))).scalars().all()
        sizes = dict.fromkeys(map(int, unsettled), 0)
    if not sizes:
        return 0
    first_id = min(sizes) * _ROWS_OF_A_BATCH
    rows = work.execute("citus_archived_batches", first_id=str(first_id)).all()
    archived = {int(row.number): int(row.archived) for row in rows if int(row.number) in sizes}
    counted = (f"({n}, {archived.get(n, 0)}, {max(size, archived.get(n, 0))})" for n, size in sizes.items())
    with work.transaction():
        work.execute("citus_settle_batches", run=str(work.run_id), counted=", ".join(counted))
        work.execute("citus_sum_batches", run=str(work.run_id))
    return sum(archived.values())
