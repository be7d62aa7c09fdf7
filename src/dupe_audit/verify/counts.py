"""Count what a key leaves without trusting any index: a table at one moment, a partitioned one leaf by leaf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from dupe_audit import citus, ledger
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.ledger import RecordedRun
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import SEQUENTIAL
from dupe_audit.postgres.session import settings, snapshot
from dupe_audit.postgres.trees import execute_each, fragments_by_handful
from dupe_audit.statements import fill_known, statement, template


class Count(NamedTuple):
    """What was counted without any index, and the newest run of the key."""

    extras: int
    rows: int | None  #: None if they were not counted
    latest: RecordedRun | None
    by_others: int  #: rows that other runs have archived since
    misplaced: list[Finding]  #: leaves with rows that belong to another one
    leaves: int | None  #: that were counted; None if the table is not partitioned


def count(
    connection: Connection, key: UniqueKey, relation: Relation, work_mem: str | None, *, counts_rows: bool = True
) -> Count:
    """Count a table and read its run as of one moment; count a tree leaf by leaf.

    Args:
        counts_rows: whether to count the rows too; those of a tree are counted with its extras.
    """
    extras, rows = 0, 0
    misplaced: list[Finding] = []
    number = 0 if relation.is_tree else None
    if relation.is_tree:
        # A snapshot per handful, because locks on all leaves at once can fill the server's lock table.
        for leaves in fragments_by_handful(connection, relation, key, CleanupRule()):
            number = int(number or 0) + len(leaves)
            with snapshot(connection, work_mem):
                for (leaf, _), counted in zip(leaves, _leaf_counts(connection, leaves), strict=True):
                    extras, rows = extras + counted.extras, rows + counted.rows
                    misplaced += _misplaced(leaf, counted.misplaced)
    with snapshot(connection, work_mem):
        if not relation.is_tree:
            of_citus = citus.propagate_settings(connection, relation, SEQUENTIAL)
            holes = catalog.fragments(connection, relation, key, CleanupRule())
            # t_can_repeat has a subquery, for which Citus would move the values of all shards to the coordinator.
            extras = _extras(connection, holes | {"t_can_repeat": "true"} if of_citus else holes)
            rows = _rows(connection, relation) if counts_rows else 0
        latest = ledger.find_latest(connection, relation.relid, key)
        by_others = ledger.archived_by_others(connection, latest.run) if latest else 0
    return Count(extras, rows if counts_rows else None, latest, by_others, misplaced, number)


def _extras(connection: Connection, holes: Mapping[str, str]) -> int:
    with settings(connection, SEQUENTIAL, local=True):
        return int(execute(connection, fill_known(template("count_extras"), holes)).scalar_one())


def _rows(connection: Connection, relation: Relation) -> int:
    with settings(connection, SEQUENTIAL, local=True):
        return int(execute(connection, statement("count_rows", table=relation.name)).scalar_one())


def _leaf_counts(connection: Connection, leaves: Sequence[tuple[Relation, Mapping[str, str]]]) -> list[Row[Any]]:
    """Return the extras, the rows and the misplaced rows of each leaf of one handful."""
    relids = ", ".join(str(leaf.relid) for leaf, _ in leaves)
    bounds = {row.relid: row.bounds for row in execute(connection, statement("leaf_bounds", relids=relids))}
    queries = [
        statement(
            "count_leaf",
            extras=fill_known(template("count_extras"), holes),
            table=leaf.name,
            # A default partition without others can have any row.
            bounds=bounds[leaf.relid] or "true",
        )
        for leaf, holes in leaves
    ]
    with settings(connection, SEQUENTIAL, local=True):
        return [rows[0] for rows in execute_each(connection, queries)]


def _misplaced(leaf: Relation, rows: int) -> list[Finding]:
    """Return a finding if rows of a leaf belong to another one: then duplicates can lie in two leaves, unseen."""
    return [finding("misplaced-rows", quantity(rows, "row"), table=leaf.name)] if rows else []
