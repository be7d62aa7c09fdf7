"""Move every extra into the archive: ranked once, in batches, each judged again under its row locks.

A batch is one READ COMMITTED transaction with two snapshots. The first statement locks extras and survivors;
the second, with a new snapshot, deletes what is still an extra straight into the archive. One statement that
does both judges by one snapshot: in 15 s, 246 keys lost their last row that way (safety rule 2).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from functools import partial

from sqlalchemy import Connection, RowMapping

from dupe_audit import children, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.cleanup.staging import Pass, staged
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.model import Batch, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.interrupt import rest
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.planner import ANYWHERE, BATCHING, WHERE_STAGED
from dupe_audit.postgres.session import holders, replica_lag, retrying, run_lock, step, transaction, wait_for_replicas
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

    The work advances only as the caller iterates. Killed anywhere, the same call continues under the same run;
    an abandoned generator releases its lock. Blockers are the caller's to ask for first (``preflight.blockers``).

    Args:
        connection: in autocommit.
        revision: the Alembic revision to enter in the ledger.
        lock_timeout: how long a statement may wait for a lock, as PostgreSQL writes durations.
        give_up_after: total wait for locks in which nothing moves.
        work_mem: memory for the ranking's sort, as PostgreSQL writes sizes.

    Raises:
        Refused: divergent groups or references, where the rule refuses them or they cannot be pointed elsewhere;
            nothing was archived in this pass.
        Blocked: extras stayed locked or referenced, or another run holds the table.
        DupeAuditError: a trigger kept rows that were deleted, or the table's columns changed on the way.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=give_up_after):
            ledger.create(connection, relation.owner)
            holes = catalog.fragments(connection, relation, key, rule)
            fks = children.foreign_keys(connection, relation.relid)
            run_id, moving = retrying(
                connection,
                partial(_open_or_resume, connection, relation, key, rule, revision, holes, fks),
                relid=relation.relid,
                what="make the archive",
                lock_timeout=lock_timeout,
                give_up_after=give_up_after,
            )
            work = Pass(
                connection=connection,
                relation=relation,
                rule=rule,
                run_id=run_id,
                holes={
                    **holes,
                    "stage": ledger.stage_name(run_id),
                    "archive": ledger.archive_name(run_id),
                    "relid": str(relation.relid),
                    **children.judging(fks, moving),
                },
                fks=fks,
                moving=moving,
                lock_timeout=lock_timeout,
                give_up_after=give_up_after,
            )
            yield from _passes(work, work_mem)
            ledger.set_state(connection, run_id, "clean")


def _open_or_resume(
    connection: Connection,
    relation: Relation,
    key: UniqueKey,
    rule: CleanupRule,
    revision: str | None,
    holes: dict[str, str],
    fks: tuple[ForeignKey, ...],
) -> tuple[int, tuple[ForeignKey, ...]]:
    known = ledger.latest(connection, relation.relid, key)
    with transaction(connection):
        if known and known[0].state != "restored" and known[0].purged_at is None:
            run_id = known[0].id
            ledger.resume(connection, run_id, rule, nulls_not_distinct=key.nulls_not_distinct)
        else:
            run_id = ledger.open_run(connection, relid=relation.relid, key=key, rule=rule, revision=revision)
        archive = ledger.archive_name(run_id)
        if not ledger.is_there(connection, archive):
            execute(connection, fill_known(template("create_archive"), holes, archive=archive))
            execute(connection, fill_known(template("finish_archive"), holes, archive=archive))
            ledger.make_private(connection, archive, relation.owner)
        ledger.adopt_new_columns(connection, relation.relid, archive)
        moving = children.open_records(connection, run_id, fks, relation.owner) if rule.references == "repoint" else ()
    return run_id, moving


def _passes(work: Pass, work_mem: str | None) -> Iterator[Batch]:
    if work.rule.max_replica_lag is not None and replica_lag(work.connection) is None:
        log.info("no standby's lag can be seen from here, so batches do not wait for standbys")
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
                f"{spared} extras of {work.relation.name} could not be archived within {work.give_up_after}: "
                "their rows or their survivors' rows are locked, or other tables reference them. "
                f"Holding the table now: {holders(work.connection, work.relation.relid)}. "
                "End or wait for them, then run the same command again; it continues."
            )
        else:
            patience.rest()


def _batches(work: Pass, total: int, where_staged: str) -> Iterator[Batch]:
    high = 0
    while high < total:
        low = high + 1
        # Children count as rows of the batch, so that one with a million of them does not bring 4,999 others along.
        high = execute(
            work.connection, work.sql("batch_end", low=str(low), batch_size=str(work.rule.batch_size))
        ).scalar_one()
        if work.rule.max_replica_lag is not None:
            wait_for_replicas(work.connection, work.rule.max_replica_lag)
        started = time.monotonic()
        try:
            archived, repointed = retrying(
                work.connection,
                partial(_move, work, low, high, where_staged),
                relid=work.relation.relid,
                what=f"archive extras {low} to {high}",
                lock_timeout=work.lock_timeout,
                give_up_after=work.give_up_after,
            )
        except Refused:
            ledger.set_state(work.connection, work.run_id, "failed")
            raise
        batch = Batch(
            run_id=work.run_id,
            archived=archived,
            spared=high - low + 1 - archived,
            repointed=repointed,
            done=high,
            total=total,
            seconds=time.monotonic() - started,
        )
        yield batch
        if work.rule.pause and high < total:
            rest(work.rule.pause)


def _move(work: Pass, low: int, high: int, where_staged: str) -> tuple[int, int]:
    """Lock, judge, archive: one transaction; return the number of rows that moved, and of children with them."""
    connection = work.connection
    leaving, repointed = None, 0
    with children.refusing(bool(work.moving)), transaction(connection, lock_timeout=work.lock_timeout, local=BATCHING):
        number = ledger.next_batch(connection, work.run_id)
        execute(connection, work.sql("lock_rows", low=str(low), high=str(high), t_where_staged=where_staged))
        if work.moving:
            leaving, repointed = children.follow(connection, work.run_id, work.moving, work.holes, number)
        moved = execute(connection, work.sql("move_rows", batch=str(number))).mappings().one()
        _check(moved, leaving, work.holes["columns_digest"])
        ledger.record_batch(
            connection,
            work.run_id,
            number,
            archived=moved["archived"],
            spared=high - low + 1 - moved["archived"],
        )
    return int(moved["archived"]), repointed


def _check(moved: RowMapping, leaving: int | None, columns_digest: str) -> None:
    """Refuse a batch in which not every row that was judged was deleted and archived; it is rolled back."""
    if moved["columns_digest"] != columns_digest:
        raise DupeAuditError(
            "The table's columns changed, or a foreign key to it, or another table took its name, while it was being "
            "cleaned; this batch was rolled back. Run the same command again: it continues with the table as it is now."
        )
    if leaving not in (None, moved["judged"]):
        raise DupeAuditError(
            f"{leaving} extras were to leave with their children, but {moved['judged']} can; the batch was rolled "
            "back. A trigger changes rows on the way: see findings delete-trigger and child-trigger."
        )
    if not moved["judged"] == moved["deleted"] == moved["archived"]:
        raise DupeAuditError(
            f"Of {moved['judged']} extras {moved['deleted']} were deleted and {moved['archived']} archived; "
            "the batch was rolled back. A trigger on the table keeps rows: see finding delete-trigger."
        )
