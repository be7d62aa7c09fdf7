"""Find the leaves that have extras, many leaves per statement: most leaves of a large tree have none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup.horizon import WHOLE_TABLE, Horizon, Ranking
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import RANKING
from dupe_audit.postgres.trees import execute_each, handfuls, leaves, of_leaf
from dupe_audit.statements import statement

W = TypeVar("W", bound=CleanupWork)


def with_extras(work: CleanupWork, work_mem: str | None, key: UniqueKey, horizon: Horizon) -> Iterator[Relation]:
    """Yield the leaves that may have extras; record the others and advance their horizons.

    Args:
        work: on the root.
    """
    for handful in handfuls(work.connection, leaves(work.connection, work.relation.relid)):
        if len(handful) == 1:
            # It can be large, and to rank it at once sorts it once.
            yield from handful
            continue
        try:
            yield from _probe(work, work_mem, key, horizon, handful)
        except DBAPIError:
            # A leaf is locked or has left. What ranks one leaf waits for its locks, and says which it is.
            yield from handful


def _probe(
    work: CleanupWork, work_mem: str | None, key: UniqueKey, horizon: Horizon, handful: Sequence[Relation]
) -> list[Relation]:
    """Return the leaves of one handful that have extras."""
    started = time.monotonic()
    works = [named_by_leaf(work, leaf) for leaf in handful]
    to_rank = [horizon.of_leaf(each.relation.relid).rows_to_rank(each, key) for each in works]
    whole = [condition == WHOLE_TABLE for condition in to_rank]
    # Only the run's first ranking needs the number of rows, and that is one of the whole leaf.
    rows = [
        f"({each.sql('count_rows')})" if every else "NULL::pg_catalog.int8"
        for each, every in zip(works, whole, strict=True)
    ]
    queries = [
        each.sql("probe_leaf", t_to_rank=condition, rows=count)
        for each, condition, count in zip(works, to_rank, rows, strict=True)
    ]
    # One snapshot for all, and for the horizon.
    with work.transaction(isolation="REPEATABLE READ", local=RANKING | ({"work_mem": work_mem} if work_mem else {})):
        results = [rows[0] for rows in execute_each(work.connection, queries)]
        oldest = str(execute(work.connection, statement("oldest_transaction")).scalar_one())
    seconds = time.monotonic() - started
    clean = [place for place, probed in enumerate(results) if not probed.has_extras]
    ledger.enter_clean_leaves(
        work.connection, work.run_id, [handful[place] for place in clean], [results[place].rows for place in clean]
    )
    for place in clean:
        ranking = Ranking(extras=0, whole=whole[place], seconds=seconds, oldest_transaction=oldest)
        horizon.of_leaf(handful[place].relid).advance(works[place], key, ranking)
    return [leaf for leaf, probed in zip(handful, results, strict=True) if probed.has_extras]


def named_by_leaf(work: W, leaf: Relation) -> W:
    """Return the work on one leaf of a tree, as far as the leaf's name determines it."""
    key = replace(work.key, table=leaf.table, schema=leaf.schema)
    holes = {**of_leaf(work.holes, leaf), "relid": str(leaf.relid)}
    return replace(work, relation=leaf, root=work.relation, key=key, holes=holes)
