"""Rank once per pass and archive what was ranked, until no extra of a table is left."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from dupe_audit import citus
from dupe_audit.cleanup import changes
from dupe_audit.cleanup.batches import Mover, batches
from dupe_audit.cleanup.horizon import Horizon
from dupe_audit.cleanup.pace import Pace
from dupe_audit.cleanup.staging import staged
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.errors import Blocked
from dupe_audit.findings import quantity
from dupe_audit.model import Batch, UniqueKey
from dupe_audit.postgres.locking import holders
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.planner import ANYWHERE, WHERE_STAGED
from dupe_audit.postgres.replication import replica_lag

log = logging.getLogger("alembic.dupe_audit")


def passes(
    work: CleanupWork, work_mem: str | None, key: UniqueKey, horizon: Horizon, mover: Mover | None = None
) -> Iterator[Batch]:
    """Archive the extras of a table, or of one leaf of a tree; yield each batch after its commit.

    Args:
        work_mem: memory for the ranking's sort.
        key: of the table, or of the tree.
        horizon: of the table or leaf; it advances when no extra is left.
        mover: moves the rows of a batch; None on a table that is not managed by Citus.

    Raises:
        Refused: see ``staged`` and ``batches``.
        Blocked: extras stayed locked or referenced.
    """
    if work.rule.max_replica_lag is not None and replica_lag(work.connection) is None:
        log.info("the lag of standbys cannot be seen on this connection, so batches do not wait for them")
    patience = Patience(work.give_up_after, pause=0.2, growth=2.0)
    pace = Pace(min(work.rule.batch_size, citus.MOST_ROWS) if mover else work.rule.batch_size)
    where_staged = ANYWHERE if mover else WHERE_STAGED
    to_rank, collides, arrived = horizon.rows_to_rank(work, key), False, False
    while True:
        with staged(work, work_mem, to_rank=to_rank, unmoved=where_staged != ANYWHERE) as ranking:
            handled = spared = 0
            collides = collides or ranking.collides
            arrived = arrived or ranking.arrived
            for batch in batches(work, ranking.extras, pace, where_staged, mover):
                handled += batch.archived + batch.amended
                spared += batch.spared
                yield batch
        if not spared:
            horizon.advance(work, key, ranking)
            if not collides:
                return
            # On a busy table every pass meets new extras, so the first further pass that meets some is the last.
            if arrived:
                log.info(
                    "writers keep adding duplicates to %s, so this cleanup ends; "
                    "until the next one, amended rows can have the key of another row",
                    work.relation.name,
                )
                return
            # An amended row can have the key of a third one, or of another amended row.
            work = changes.amend_again(work)
            to_rank, collides, where_staged = horizon.rows_to_rank(work, key), False, WHERE_STAGED
            continue
        where_staged = ANYWHERE
        if handled:
            patience.restart()
        elif patience.exhausted:
            raise _spared_too_long(work, spared)
        else:
            patience.pause()


def _spared_too_long(work: CleanupWork, spared: int) -> Blocked:
    return Blocked(
        f"{quantity(spared, 'extra')} of {work.relation.name} could not be {work.rule.outcome} within "
        f"{work.give_up_after}: they or their survivors are locked, or rows of other tables reference them; "
        "or other sessions add such rows, or move extras to other partitions, in the middle of every batch. "
        f"Locks on the table are held by {holders(work.connection, work.relation.relid)}. "
        "Wait for them or end them, then run the same command again: it continues where it stopped."
    )
