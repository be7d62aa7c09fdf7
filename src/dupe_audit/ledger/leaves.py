"""The leaves and inner levels of a tree in the ledger: what was counted in each, and which index a run builds on it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from dupe_audit.ledger.tables import archive_name
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement


class Leaf(NamedTuple):
    """A leaf or an inner level of a tree, as the ledger has it."""

    id: int
    index_name: str | None  #: of the index that the run builds on it
    building: bool  #: whether a build of ours may have left an invalid one


class LeafIndex(NamedTuple):
    """An index that a run has on a table of its tree."""

    leaf: int  #: its number in the ledger
    relid: int  #: oid of the table
    name: str
    building: bool  #: whether a build of ours may have left it invalid


def enter_leaf(connection: Connection, run_id: int, relation: Relation) -> Leaf:
    """Return a leaf as the ledger has it; enter it first if it is new."""
    holes = {"schema_name": literal(relation.schema), "table_name": literal(relation.table)}
    row = execute(connection, statement("enter_leaf", run=str(run_id), relid=str(relation.relid), **holes)).one()
    return Leaf(row.id, row.index_name, row.building)


def keep_leaf_names(connection: Connection, run_id: int) -> None:
    """Let the archive of a run say from which leaf each row came."""
    execute(connection, statement("add_leaf_column", archive=archive_name(run_id)))


def record_leaf_ranking(connection: Connection, leaf: int, *, rows: int | None, groups: int, extras: int) -> None:
    """Record the counts of a ranking of one leaf."""
    counts = {"rows": literal(rows), "groups": str(groups), "extras": str(extras)}
    execute(connection, statement("record_leaf_ranking", leaf=str(leaf), **counts))


def sum_leaves(connection: Connection, run_id: int) -> None:
    """Set the counts of a run to the sums of its leaves."""
    execute(connection, statement("sum_leaves", run=str(run_id)))


def mark_leaf_building(connection: Connection, leaf: int, name: str | None, *, building: bool) -> None:
    """Record that an index of that name on a leaf is ours, and whether a build of it may be unfinished."""
    holes = {"leaf": str(leaf), "name": literal(name), "building": literal(building)}
    execute(connection, statement("mark_leaf_building", **holes))


def is_leaf_building(connection: Connection, leaf: int) -> bool:
    """Return whether a build of ours may have left an invalid index on a leaf."""
    sql = f"SELECT l.building FROM dupe_audit.leaf l WHERE l.id = {int(leaf)}"
    return bool(execute(connection, sql).scalar_one())


def leaf_indexes(connection: Connection, run_id: int) -> list[LeafIndex]:
    """Return the indexes that a run has on the leaves and inner levels of its tree."""
    rows = execute(connection, statement("leaf_indexes", run=str(run_id)))
    return [LeafIndex(row.id, row.relid, row.index_name, row.building) for row in rows]
