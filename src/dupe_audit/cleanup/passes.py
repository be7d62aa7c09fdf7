"""Move every extra into the archive: open the run, rank once per pass, and repeat until no extra is left."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from functools import partial

from sqlalchemy import Connection

from dupe_audit import children, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.cleanup import changes
from dupe_audit.cleanup.batches import batches
from dupe_audit.cleanup.horizon import Horizon
from dupe_audit.cleanup.pace import Pace
from dupe_audit.cleanup.staging import staged
from dupe_audit.cleanup.work import CleanupWork, run_holes
from dupe_audit.errors import Blocked
from dupe_audit.findings import quantity
from dupe_audit.model import Batch, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import holders, retry_lock, run_lock
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.planner import ANYWHERE, WHERE_STAGED
from dupe_audit.postgres.replication import replica_lag
from dupe_audit.postgres.session import require_valid, step, transaction
from dupe_audit.statements import fill_known, template

log = logging.getLogger("alembic.dupe_audit")


def cleanup(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    name: str | None = None,
    revision: str | None = None,
    lock_timeout: str = "500ms",
    give_up_after: str = "10min",
    work_mem: str | None = None,
    horizon: Horizon | None = None,
) -> Generator[Batch, None, None]:
    """Archive the extras of *key*; yield each batch after its commit.

    The work advances only while the caller iterates. Killed anywhere, the same call continues under the same run;
    an abandoned generator releases its lock. The caller asks for blockers first (``preflight.blockers``).

    Args:
        connection: in autocommit.
        key: the table and its columns; no constraint needs to exist.
        rule: which row of a group survives, what may be archived, and how fast.
        name: the constraint that will be built, if *key* does not name it; runs of other constraints are not touched.
        revision: the Alembic revision to record in the ledger.
        lock_timeout: how long a statement may wait for a lock, as PostgreSQL writes durations.
        give_up_after: total wait for locks without any progress.
        work_mem: memory for the ranking's sort, as PostgreSQL writes sizes.
        horizon: which rows an earlier cleanup of this process has left free of extras, so that they are not ranked
            again; it advances when no extra is left.

    Raises:
        WrongUsage: the server does not accept *work_mem*.
        Refused: divergent groups or references that the rule refuses, or children that cannot follow the survivor;
            nothing was archived in this pass.
        Blocked: extras stayed locked or referenced, or another session works on the table.
        DupeAuditError: a trigger kept deleted rows, the table's columns changed during the cleanup, or the table
            does not exist.
        Interrupted: the user stopped the work; committed batches are safe.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        if work_mem:
            require_valid(connection, {"work_mem": work_mem})
        with run_lock(connection, relation.relid, give_up_after=give_up_after):
            relation = catalog.still_named(connection, relation)
            fragments = catalog.fragments(connection, relation, key, rule)
            ledger.create(connection, relation.owner, relid=relation.relid)
            foreign_keys = children.foreign_keys(connection, relation.relid)
            run_id, moving = retry_lock(
                connection,
                partial(
                    _open_or_resume,
                    connection,
                    relation,
                    key,
                    name,
                    rule,
                    revision,
                    fragments,
                    foreign_keys,
                    lock_timeout,
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
                holes=run_holes(connection, fragments, relation, rule, run_id, foreign_keys, moving),
                key=key,
                rule=rule,
                run_id=run_id,
                foreign_keys=foreign_keys,
                moving=moving,
            )
            if rule.amends:
                work = changes.prepared(work, key)
            yield from _passes(work, work_mem, key, horizon or Horizon())
            ledger.set_state(connection, run_id, "clean")


def _open_or_resume(
    connection: Connection,
    relation: catalog.Relation,
    key: UniqueKey,
    name: str | None,
    rule: CleanupRule,
    revision: str | None,
    fragments: dict[str, str],
    foreign_keys: tuple[ForeignKey, ...],
    lock_timeout: str,
) -> tuple[int, tuple[ForeignKey, ...]]:
    choice = ledger.to_clean(str(relation.relid), key, name=name or key.name, revision=revision)
    continued = ledger.find_run(connection, relation.relid, choice)
    with transaction(connection, lock_timeout=lock_timeout):
        if continued:
            run_id = continued.run.id
            ledger.require_continuable(connection, continued.run, relation)
            ledger.resume(connection, run_id, relation.relid, key, rule)
        else:
            run_id = ledger.open_run(connection, relid=relation.relid, key=key, rule=rule, revision=revision)
            ledger.require_unused(connection, run_id)
        archive = ledger.archive_name(run_id)
        if not ledger.relation_exists(connection, archive):
            for part in ("create_archive", "finish_archive"):
                execute(connection, fill_known(template(part), fragments, archive=archive))
            ledger.make_private(connection, archive, relation.owner)
        if rule.changes_rows:
            ledger.keep_images(connection, run_id, relation.owner, fragments)
        ledger.adopt_columns(connection, run_id, relation.relid)
        moving: tuple[ForeignKey, ...] = ()
        if rule.references == "repoint":
            moving = children.open_records(connection, run_id, foreign_keys, relation.owner)
    return run_id, moving


def _passes(work: CleanupWork, work_mem: str | None, key: UniqueKey, horizon: Horizon) -> Iterator[Batch]:
    if work.rule.max_replica_lag is not None and replica_lag(work.connection) is None:
        log.info("the lag of standbys cannot be seen on this connection, so batches do not wait for them")
    patience = Patience(work.give_up_after, pause=0.2, growth=2.0)
    pace = Pace(work.rule.batch_size)
    where_staged = WHERE_STAGED
    to_rank, collides, collisions = horizon.rows_to_rank(work, key), False, 0
    while True:
        with staged(work, work_mem, to_rank=to_rank, unmoved=where_staged != ANYWHERE) as ranking:
            handled = spared = 0
            collides = collides or ranking.collides
            for batch in batches(work, ranking.extras, pace, where_staged):
                handled += batch.archived + batch.amended
                spared += batch.spared
                yield batch
        if not spared:
            horizon.advance(work, key, ranking)
            if not collides:
                return
            # An amended row can have the key of a third one, or of another amended row.
            collisions = changes.count_collisions(work, collisions)
            work = changes.amend_again(work)
            to_rank, collides, where_staged = horizon.rows_to_rank(work, key), False, WHERE_STAGED
            continue
        where_staged = ANYWHERE
        if handled:
            patience.restart()
        elif patience.exhausted:
            raise Blocked(
                f"{quantity(spared, 'extra')} of {work.relation.name} could not be {work.rule.outcome} within "
                f"{work.give_up_after}: they or their survivors are locked, or rows of other tables reference them; "
                "or others add such rows, or move extras to other partitions, in the middle of every batch. "
                f"Locks on the table are held by {holders(work.connection, work.relation.relid)}. "
                "Wait for them or end them, then run the same command again: it continues where it stopped."
            )
        else:
            patience.pause()
