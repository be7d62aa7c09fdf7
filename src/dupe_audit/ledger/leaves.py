"""The leaves and inner levels of a tree in the ledger: what was counted in each, and which index a run builds on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from dupe_audit.ledger.tables import archive_name
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement, text_array

#: leaves in one statement; it bounds the length of its text
_ENTERED_AT_ONCE = 500


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
    exists: bool  #: whether anything in the schema of the table has its name


def enter_leaf(connection: Connection, run_id: int, relation: Relation) -> Leaf:
    """Return a leaf as the ledger has it; enter it first if it is new."""
    holes = {"schema_name": literal(relation.schema), "table_name": literal(relation.table)}
    row = execute(connection, statement("enter_leaf", run=str(run_id), relid=str(relation.relid), **holes)).one()
    return Leaf(row.id, row.index_name, row.building)


def enter_leaves(connection: Connection, run_id: int, relations: Sequence[Relation]) -> dict[int, Leaf]:
    """Return leaves and inner levels as the ledger has them, by their oids; enter those first that are new."""
    entered: dict[int, Leaf] = {}
    for start in range(0, len(relations), _ENTERED_AT_ONCE):
        some = relations[start : start + _ENTERED_AT_ONCE]
        rows = execute(connection, statement("enter_leaves", **_entries(run_id, some, [None] * len(some))))
        entered |= {row.relid: Leaf(row.id, row.index_name, row.building) for row in rows}
    return entered


class LeafCount(NamedTuple):
    """What a statement that reads several leaves has counted in one of them."""

    rows: int | None  #: None if not all were ranked
    groups: int
    extras: int


def enter_ranked_leaves(
    connection: Connection, run_id: int, leaves: Sequence[Relation], counts: Sequence[LeafCount]
) -> None:
    """Record what was counted in each of several leaves; leaves that the ledger lacks are entered first."""
    entries = _entries(run_id, leaves, [count.rows for count in counts])
    arrays = {
        "groups": f"ARRAY[{', '.join(str(count.groups) for count in counts)}]",
        "extras": f"ARRAY[{', '.join(str(count.extras) for count in counts)}]",
    }
    execute(connection, statement("enter_ranked_leaves", **entries, **arrays))


def _entries(run_id: int, leaves: Sequence[Relation], rows: Sequence[int | None]) -> dict[str, str]:
    """Return what fills the statements that enter several leaves."""
    return {
        "run": str(run_id),
        "relids": f"ARRAY[{', '.join(str(leaf.relid) for leaf in leaves)}]",
        "schemas": text_array(leaf.schema for leaf in leaves),
        "tables": text_array(leaf.table for leaf in leaves),
        "rows": f"ARRAY[{', '.join(literal(each) for each in rows)}]",
    }


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


def leaf_building_sql(leaf: int, name: str | None, *, building: bool) -> str:
    """Return the statement that records an index of that name on a leaf as ours, and whether it may be unfinished."""
    holes = {"leaf": str(leaf), "name": literal(name), "building": literal(building)}
    return statement("mark_leaf_building", **holes)


def mark_leaf_building(connection: Connection, leaf: int, name: str | None, *, building: bool) -> None:
    """Record that an index of that name on a leaf is ours, and whether a build of it may be unfinished."""
    execute(connection, leaf_building_sql(leaf, name, building=building))


def is_leaf_building(connection: Connection, leaf: int) -> bool:
    """Return whether a build of ours may have left an invalid index on a leaf."""
    return bool(execute(connection, statement("is_leaf_building", leaf=str(leaf))).scalar_one())


def leaf_indexes(connection: Connection, run_id: int) -> list[LeafIndex]:
    """Return the indexes that a run may have on the leaves and inner levels of its tree."""
    rows = execute(connection, statement("leaf_indexes", run=str(run_id)))
    return [LeafIndex(row.id, row.relid, row.index_name, row.building, row.exists) for row in rows]


class Strays(NamedTuple):
    """Archived rows whose partition was detached or dropped, and that would go to a DEFAULT partition."""

    former: Sequence[str]  #: names of the detached or dropped partitions, as the archive has them
    bounds: str  #: the condition of the DEFAULT partitions, as SQL


def find_strays(connection: Connection, run_id: int, relid: int) -> Strays | None:
    """Return which rows of a run would go to a DEFAULT partition, because theirs is gone; None if none can."""
    row = execute(connection, statement("strays", run=str(run_id), relid=str(relid))).one()
    return Strays(row.former, row.bounds) if row.former and row.bounds else None


def forget_leaf_indexes(connection: Connection, leaves: Sequence[int]) -> None:
    """Record that a run has no index any more on some leaves and inner levels, by their numbers in the ledger."""
    if leaves:
        execute(connection, statement("forget_leaf_indexes", leaves=", ".join(map(str, leaves))))
