"""Move every extra into the archive: ranked once per pass, in batches, each checked again under its row locks.

A batch is one READ COMMITTED transaction with two snapshots. The first statement locks extras and survivors; a
second one, with a new snapshot, deletes what is still an extra straight into the archive. One statement that does
both decides by one snapshot: 246 keys lost their last row that way in 15 s (measured).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from functools import partial

from sqlalchemy import Connection, RowMapping

from dupe_audit import children, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.cleanup.staging import CleanupWork, staged
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.findings import quantity
from dupe_audit.model import Batch, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.interrupt import sleep
from dupe_audit.postgres.locking import holders, retry_lock, run_lock
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.planner import ANYWHERE, BATCHING, WHERE_STAGED
from dupe_audit.postgres.replication import replica_lag, wait_for_replicas
from dupe_audit.postgres.session import step, transaction
from dupe_audit.statements import fill_known, template

log = logging.getLogger("alembic.dupe_audit")


def cleanup(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    revision: str | None = None,
    lock_timeout: str = "500ms",
    give_up_after: str = "10min",
    work_mem: str | None = None,
) -> Generator[Batch, None, None]:
    """Archive the extras of *key*; yield each batch after its commit.

    The work advances only while the caller iterates. Killed anywhere, the same call continues under the same run;
    an abandoned generator releases its lock. The caller asks for blockers first (``preflight.blockers``).

    Args:
        connection: in autocommit.
        key: the table and its columns; no constraint needs to exist.
        rule: which row of a group survives, what may be archived, and how fast.
        revision: the Alembic revision to record in the ledger.
        lock_timeout: how long a statement may wait for a lock, as PostgreSQL writes durations.
        give_up_after: total wait for locks without any progress.
        work_mem: memory for the ranking's sort, as PostgreSQL writes sizes.

    Raises:
        Refused: divergent groups or references that the rule refuses, or children that cannot follow the survivor;
            nothing was archived in this pass.
        Blocked: extras stayed locked or referenced, or another session works on the table.
        DupeAuditError: a trigger kept deleted rows, the table's columns changed during the cleanup, or the table
            does not exist.
        Interrupted: the user stopped the work; committed batches are safe.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=give_up_after):
            relation = catalog.still_named(connection, relation)
            ledger.create(connection, relation.owner, relid=relation.relid)
            fragments = catalog.fragments(connection, relation, key, rule)
            foreign_keys = children.foreign_keys(connection, relation.relid)
            run_id, moving = retry_lock(
                connection,
                partial(
                    _open_or_resume, connection, relation, key, rule, revision, fragments, foreign_keys, lock_timeout
                ),
                relid=relation.relid,
                name="create the archive",
                lock_timeout=lock_timeout,
                give_up_after=give_up_after,
            )
            work = CleanupWork(
                connection=connection,
                relation=relation,
                lock_timeout=lock_timeout,
                give_up_after=give_up_after,
                holes={
                    **fragments,
                    "stage": ledger.stage_name(run_id),
                    "archive": ledger.archive_name(run_id),
                    "relid": str(relation.relid),
                    **children.judging(foreign_keys, moving),
                },
                rule=rule,
                run_id=run_id,
                foreign_keys=foreign_keys,
                moving=moving,
            )
            yield from _passes(work, work_mem)
            ledger.set_state(connection, run_id, "clean")


def _open_or_resume(
    connection: Connection,
    relation: catalog.Relation,
    key: UniqueKey,
    rule: CleanupRule,
    revision: str | None,
    fragments: dict[str, str],
    foreign_keys: tuple[ForeignKey, ...],
    lock_timeout: str,
) -> tuple[int, tuple[ForeignKey, ...]]:
    latest = ledger.find_latest(connection, relation.relid, key)
    with transaction(connection, lock_timeout=lock_timeout):
        if latest and latest.run.state != "restored" and latest.run.purged_at is None:
            run_id = latest.run.id
            ledger.require_continuable(connection, latest.run, relation)
            ledger.resume(connection, run_id, relation.relid, key, rule)
        else:
            run_id = ledger.open_run(connection, relid=relation.relid, key=key, rule=rule, revision=revision)
            ledger.require_unused(connection, run_id)
        archive = ledger.archive_name(run_id)
        if not ledger.relation_exists(connection, archive):
            for name in ("create_archive", "finish_archive"):
                execute(connection, fill_known(template(name), fragments, archive=archive))
            ledger.make_private(connection, archive, relation.owner)
        ledger.adopt_columns(connection, run_id, relation.relid)
        moving: tuple[ForeignKey, ...] = ()
        if rule.references == "repoint":
            moving = children.open_records(connection, run_id, foreign_keys, relation.owner)
    return run_id, moving


def _passes(work: CleanupWork, work_mem: str | None) -> Iterator[Batch]:
    if work.rule.max_replica_lag is not None and replica_lag(work.connection) is None:
        log.info("the lag of standbys cannot be seen on this connection, so batches do not wait for them")
    patience = Patience(work.give_up_after, pause=0.2, growth=2.0)
    where_staged = WHERE_STAGED
    while True:
        with staged(work, work_mem) as total:
            archived = spared = 0
            for batch in _batches(work, total, where_staged):
                archived += batch.archived
                spared += batch.spared
                yield batch
        if not spared:
            return
        where_staged = ANYWHERE
        if archived:
            patience.restart()
        elif patience.exhausted:
            raise Blocked(
                f"{quantity(spared, 'extra')} of {work.relation.name} could not be archived within "
                f"{work.give_up_after}: they or their survivors are locked, or rows of other tables reference them. "
                f"Locks on the table are held by {holders(work.connection, work.relation.relid)}. "
                "Wait for them or end them, then run the same command again: it continues where it stopped."
            )
        else:
            patience.pause()


def _batches(work: CleanupWork, total: int, where_staged: str) -> Iterator[Batch]:
    high = 0
    while high < total:
        low = high + 1
        # Children count as rows of the batch, so an extra with a million of them does not bring 4,999 others along.
        high = work.execute("batch_end", low=str(low), batch_size=str(work.rule.batch_size)).scalar_one()
        if work.rule.max_replica_lag is not None:
            wait_for_replicas(work.connection, work.rule.max_replica_lag)
        started = time.monotonic()
        try:
            batch = partial(move, work, low, high, where_staged)
            archived, repointed = work.retry(batch, f"archive extras {low:,} to {high:,}")
        except Refused:
            ledger.set_state(work.connection, work.run_id, "failed")
            raise
        yield Batch(
            run_id=work.run_id,
            archived=archived,
            spared=high - low + 1 - archived,
            repointed=repointed,
            done=high,
            total=total,
            seconds=time.monotonic() - started,
        )
        if work.rule.pause and high < total:
            sleep(work.rule.pause)


def move(work: CleanupWork, low: int, high: int, where_staged: str) -> tuple[int, int]:
    """Lock, check and archive in one transaction; return how many extras and how many of their children moved."""
    connection = work.connection
    leaving, repointed = None, 0
    with children.refusing(bool(work.moving)), work.transaction(local=BATCHING):
        number = ledger.next_batch(connection, work.run_id)
        work.execute("lock_rows", low=str(low), high=str(high), t_where_staged=where_staged)
        if work.moving:
            leaving, repointed = children.follow(connection, work.run_id, work.moving, work.holes, number)
        moved = work.execute("move_rows", batch=str(number)).mappings().one()
        _check(moved, leaving, work.holes["columns_digest"])
        archived = int(moved["archived"])
        ledger.record_batch(connection, work.run_id, number, archived=archived, spared=high - low + 1 - archived)
    return archived, repointed


def _check(moved: RowMapping, leaving: int | None, columns_digest: str) -> None:
    """Refuse a batch in which not every extra that was checked was also deleted and archived; it is rolled back."""
    if moved["columns_digest"] != columns_digest:
        raise DupeAuditError(
            "The table's columns or a foreign key to it changed during the cleanup, or another table took its name. "
            "The batch was rolled back. Run the same command again: it continues with the table as it is now."
        )
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
