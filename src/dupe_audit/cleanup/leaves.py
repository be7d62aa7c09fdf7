"""Clean a partitioned table leaf by leaf: equal keys lie in one leaf, and no statement of a batch names the root.

Through the root, one batch of a tree with 5,000 leaves took 46 s and locked each of them (measured, PostgreSQL 15).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup.horizon import Horizon
from dupe_audit.cleanup.passes import passes
from dupe_audit.cleanup.probe import W, named_by_leaf, with_extras
from dupe_audit.cleanup.staging import staged
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.errors import Refused
from dupe_audit.findings import Finding, quantity
from dupe_audit.model import Batch, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.trees import is_leaf_of, share_levels
from dupe_audit.postgres.turns import Turns

log = logging.getLogger("alembic.dupe_audit")

#: findings of leaves that a refusal shows in full
SHOWN = 10


def clean_leaves(
    work: CleanupWork, work_mem: str | None, key: UniqueKey, horizon: Horizon, *, only: Relation | None = None
) -> Iterator[Batch]:
    """Archive the extras of each leaf; yield each batch after its commit.

    All leaves are ranked and judged before the first row is archived.

    Args:
        work: on the root.
        only: the leaf to clean, if it is one.

    Raises:
        Refused: leaves with divergent groups or references that the rule refuses; nothing was archived in this pass.
        Blocked: extras stayed locked or referenced; those of other leaves are archived.
    """
    dirty = [only] if only else _judge_leaves(work, work_mem, key, horizon)
    turns = Turns(dirty, work.give_up_after, _name)
    for leaf in turns:
        leaf_work = replace(on_leaf(work, leaf), give_up_after=turns.give_up_after)
        try:
            with turns.turn(leaf):
                yield from passes(leaf_work, work_mem, key, horizon.leaf_horizon(leaf.relid))
                leaf_work.record_ranking(rows=None, groups=0, extras=0)
        except DBAPIError:
            if not _has_left(work, leaf):
                raise
            continue
    # Once, because it reads every leaf. Until then, what a leaf has lost is in the run's archived rows already.
    ledger.sum_leaves(work.connection, work.run_id)


def _judge_leaves(work: CleanupWork, work_mem: str | None, key: UniqueKey, horizon: Horizon) -> list[Relation]:
    """Return the leaves that have extras, none of which is an obstacle.

    Raises:
        Refused: some leaves have extras that must not be archived.
        Blocked: some leaves stayed locked, so it is not known.
    """
    dirty: list[Relation] = []
    refused: list[Finding] = []
    unclear: list[Relation] = []
    for leaf, unobjectionable in with_extras(work, work_mem, key, horizon):
        (dirty if unobjectionable else unclear).append(leaf)
    turns = Turns(unclear, work.give_up_after, _name)
    for leaf in turns:
        leaf_work = replace(on_leaf(work, leaf), give_up_after=turns.give_up_after)
        leaf_horizon = horizon.leaf_horizon(leaf.relid)
        try:
            to_rank = leaf_horizon.rows_to_rank(leaf_work, key)
            with turns.turn(leaf), staged(leaf_work, work_mem, to_rank=to_rank, judged_only=True) as ranking:
                if ranking.extras:
                    dirty.append(leaf)
                else:
                    leaf_horizon.advance(leaf_work, key, ranking)
        except Refused as error:
            refused += error.findings
        except DBAPIError:
            if not _has_left(work, leaf):
                raise
    ledger.sum_leaves(work.connection, work.run_id)
    if refused:
        more = len(refused) - SHOWN
        lead = "Nothing was archived or changed in this pass."
        lead += f" These are the first {SHOWN} of {quantity(len(refused), 'finding')}." if more > 0 else ""
        raise Refused(refused[:SHOWN], lead=lead)
    return sorted(dirty, key=lambda leaf: leaf.relid)


def _name(leaf: Relation) -> str:
    return leaf.name


def _has_left(work: CleanupWork, leaf: Relation) -> bool:
    """Return whether a leaf was detached or dropped since the tree was read, and log it."""
    if is_leaf_of(work.connection, leaf, work.relation.relid):
        return False
    log.warning("%s is no longer a partition of %s, so it is not cleaned", leaf.name, work.relation.name)
    return True


def on_leaf(work: W, leaf: Relation) -> W:
    """Return the work on one leaf of the tree that *work* is on."""
    on_leaf = named_by_leaf(work, leaf)
    entered = ledger.enter_leaf(work.connection, work.run_id, leaf)
    digest = str(on_leaf.execute("columns_digest").scalar_one())
    levels = share_levels(work.connection, leaf.relid) if work.moving else ""
    return replace(on_leaf, leaf=entered.id, holes={**on_leaf.holes, "columns_digest": digest}, share_levels=levels)
