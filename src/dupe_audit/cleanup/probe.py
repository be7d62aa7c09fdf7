"""Find the leaves that have extras, many leaves per statement: most leaves of a large tree have none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from sqlalchemy.exc import DBAPIError

from dupe_audit import insertable, ledger
from dupe_audit.cleanup.horizon import WHOLE_TABLE, Horizon, Ranking
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.insertable import Leaving
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import SEQUENTIAL, ranking_settings
from dupe_audit.postgres.session import settings
from dupe_audit.postgres.trees import execute_each, handfuls, leaf_fragments, leaves
from dupe_audit.statements import statement

W = TypeVar("W", bound=CleanupWork)


class Probed(NamedTuple):
    """A leaf that may have extras."""

    leaf: Relation
    unobjectionable: bool  #: whether nothing is known that prevents archiving its extras; if not, its ranking decides


def with_extras(work: CleanupWork, work_mem: str | None, key: UniqueKey, horizon: Horizon) -> Iterator[Probed]:
    """Yield the leaves that may have extras; record the others and advance their horizons.

    Args:
        work: on the root.
    """
    for handful in handfuls(work.connection, leaves(work.connection, work.relation.relid)):
        if len(handful) == 1:
            # It can be large, and to rank it at once sorts it once.
            yield Probed(handful[0], unobjectionable=False)
            continue
        try:
            yield from _probe(work, work_mem, key, horizon, handful)
        except DBAPIError:
            # A leaf is locked or has left. What ranks one leaf waits for its locks, and says which it is.
            yield from (Probed(leaf, unobjectionable=False) for leaf in handful)


def _probe(
    work: CleanupWork, work_mem: str | None, key: UniqueKey, horizon: Horizon, handful: Sequence[Relation]
) -> list[Probed]:
    """Return the leaves of one handful that have extras."""
    started = time.monotonic()
    works = [named_by_leaf(work, leaf) for leaf in handful]
    to_rank = [horizon.leaf_horizon(each.relation.relid).rows_to_rank(each, key) for each in works]
    whole = [condition == WHOLE_TABLE for condition in to_rank]
    # Only the run's first ranking needs the number of rows, and that is one of the whole leaf.
    rows = [
        f"({each.sql('count_rows')})" if every else "NULL::pg_catalog.int8"
        for each, every in zip(works, whole, strict=True)
    ]
    queries = [
        each.sql("probe_leaf", t_to_rank=each.holes["t_can_repeat"] if every else condition, rows=count)
        for each, condition, every, count in zip(works, to_rank, whole, rows, strict=True)
    ]
    # One snapshot for all, and for the horizon.
    with work.transaction(isolation="REPEATABLE READ", local=ranking_settings(work_mem)):
        counts = [
            ledger.LeafCount(row.rows, row.groups, row.extras) for (row,) in execute_each(work.connection, queries)
        ]
        dirty = [position for position, count in enumerate(counts) if count.extras]
        clear = _unobjectionable(work, [works[position] for position in dirty])
        oldest = str(execute(work.connection, statement("oldest_transaction")).scalar_one())
    seconds = time.monotonic() - started
    ledger.enter_ranked_leaves(work.connection, work.run_id, handful, counts)
    for position in set(range(len(handful))).difference(dirty):
        ranking = Ranking(extras=0, whole=whole[position], seconds=seconds, oldest_transaction=oldest)
        horizon.leaf_horizon(handful[position].relid).advance(works[position], key, ranking)
    return [Probed(handful[position], is_clear) for position, is_clear in zip(dirty, clear, strict=True)]


def _unobjectionable(work: CleanupWork, dirty: Sequence[CleanupWork]) -> list[bool]:
    """Return, for each leaf with extras, whether nothing prevents archiving them, as far as one statement can find.

    Args:
        work: on the root.
        dirty: on the leaves.
    """
    if not dirty or work.foreign_keys or work.rule.changes_rows:
        return [False] * len(dirty)
    pairs = [each.sql("ranked_pairs") for each in dirty]
    leaving = [
        Leaving(
            relid=each.relation.relid,
            holes=each.holes,
            extras=f"({leaf_pairs})",
            is_extra=f"{each.holes['relation']}.ctid OPERATOR(pg_catalog.=) dupe_audit_extra.e_tid",
        )
        for each, leaf_pairs in zip(dirty, pairs, strict=True)
    ]
    violated = insertable.violated(work.connection, leaving, find_run=work.find_run, planner=SEQUENTIAL)
    if work.rule.divergent != "refuse":
        return [not subjects for subjects in violated]
    queries = [each.sql("judge_leaf", pairs=leaf_pairs) for each, leaf_pairs in zip(dirty, pairs, strict=True)]
    with settings(work.connection, SEQUENTIAL, local=True):
        diverges = [rows[0].diverges for rows in execute_each(work.connection, queries)]
    return [not (subjects or differs) for subjects, differs in zip(violated, diverges, strict=True)]


def named_by_leaf(work: W, leaf: Relation) -> W:
    """Return the work on one leaf of a tree, as far as the leaf's name determines it."""
    key = replace(work.key, table=leaf.table, schema=leaf.schema)
    holes = {**leaf_fragments(work.holes, leaf), "relid": str(leaf.relid)}
    return replace(work, relation=leaf, root=work.relation, key=key, holes=holes)
