"""Partitioned tables: the tables of a tree, and the SQL that reads one of its leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation, fragments
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import LOCK_NOT_AVAILABLE, sqlstate
from dupe_audit.statements import ident, literal, statement

#: stand for a leaf in SQL that was derived once for a whole tree; they are identifiers that nobody has
PLACEHOLDER, ALIAS = '"dupe-audit leaf"', '"dupe-audit leaf alone"'

#: leaves that one statement reads at most: their locks, and those of their indexes, are held together
MOST_LEAVES = 50
#: bytes that they have together at most: a sort keeps its memory and its files until the whole statement ends
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A table of a tree: the partitioned table itself, an inner level or a leaf."""

    relation: Relation
    parent: int  #: oid of the table that it is a partition of; 0 for the root
    level: int  #: 0 for the root
    is_default: bool  #: whether it is the DEFAULT partition of its parent

    @property
    def is_leaf(self) -> bool:
        """Whether it holds rows itself."""
        return not self.relation.is_tree


def members(connection: Connection, relid: int) -> list[Member]:
    """Return the tables of a tree, the root first, then level by level, in the order of their oids."""
    rows = execute(connection, statement("tree", relid=str(relid))).mappings()
    return [_member(dict(row)) for row in rows]


def _member(row: dict[str, object]) -> Member:
    own = {name: row.pop(name) for name in ("parent", "level", "is_default")}
    return Member(relation=Relation(**row), **own)  # type: ignore[arg-type]


def leaves(connection: Connection, relid: int) -> list[Relation]:
    """Return the leaves of a tree in the order of their oids."""
    return sorted((each.relation for each in members(connection, relid) if each.is_leaf), key=lambda leaf: leaf.relid)


def is_leaf_of(connection: Connection, leaf: Relation, relid: int) -> bool:
    """Return whether a table is still a leaf of the tree under the name that it had."""
    return leaf.name in {each.name for each in leaves(connection, relid) if each.relid == leaf.relid}


def share_levels(connection: Connection, relid: int) -> str:
    """Return the statement that locks the levels above a leaf, or those of a whole tree; empty if there are none.

    The check of a foreign key that references a tree locks the root, and then the leaf that has the row. A session that
    creates a partition locks in the same order. So a transaction has to lock the levels first if it locks a leaf by
    name, or rows that reference the tree, and then changes such rows.
    """
    levels = execute(connection, statement("levels", relid=str(relid))).scalar_one()
    return statement("share_levels", levels=levels) if levels else ""


def tree_fragments(connection: Connection, root: Relation, key: UniqueKey, rule: CleanupRule) -> dict[str, str]:
    """Return the pieces of SQL for any leaf of a tree; ``leaf_fragments`` names the leaf.

    A leaf has the columns of its root by name, so they are derived once: for each of 5,000 leaves it would take longer
    than to count them.
    """
    return fragments(connection, root, key, rule, placeholders=(PLACEHOLDER, ALIAS))


def leaf_fragments(holes: Mapping[str, str], leaf: Relation) -> dict[str, str]:
    """Return what fills the statements about one leaf."""
    alias = ident(leaf.table)
    named = {name: value.replace(PLACEHOLDER, leaf.name).replace(ALIAS, alias) for name, value in holes.items()}
    name = literal(leaf.name)
    return {**named, "table_name": name, "and_leaf": ", dupe_audit_leaf", "and_its_leaf": f", {name}"}


def fragments_by_table(
    connection: Connection, relation: Relation, key: UniqueKey, rule: CleanupRule
) -> Iterator[tuple[Relation, dict[str, str]]]:
    """Yield each table that has rows of a relation, with the pieces of SQL for it: itself, or the leaves of a tree."""
    if not relation.is_tree:
        yield relation, fragments(connection, relation, key, rule)
        return
    pieces = tree_fragments(connection, relation, key, rule)
    for leaf in leaves(connection, relation.relid):
        yield leaf, leaf_fragments(pieces, leaf)


def fragments_by_handful(
    connection: Connection, relation: Relation, key: UniqueKey, rule: CleanupRule
) -> Iterator[list[tuple[Relation, dict[str, str]]]]:
    """Yield the same, as many tables at a time as one statement may read; of a tree, outside a transaction."""
    if not relation.is_tree:
        yield [(relation, fragments(connection, relation, key, rule))]
        return
    pieces = tree_fragments(connection, relation, key, rule)
    for handful in handfuls(connection, leaves(connection, relation.relid)):
        yield [(leaf, leaf_fragments(pieces, leaf)) for leaf in handful]


def handfuls(connection: Connection, leaves: Sequence[Relation]) -> Iterator[list[Relation]]:
    """Yield leaves in their order, as many at a time as one statement may read: small ones together."""
    for start in range(0, len(leaves), MOST_LEAVES):
        chunk = leaves[start : start + MOST_LEAVES]
        sizes = _sizes(connection, chunk)
        handful: list[Relation] = []
        size = 0
        for leaf in chunk:
            if handful and size + sizes[leaf.relid] > MOST_BYTES:
                yield handful
                handful, size = [], 0
            handful.append(leaf)
            size += sizes[leaf.relid]
        yield handful


def _sizes(connection: Connection, leaves: Sequence[Relation]) -> dict[int, int]:
    """Return the bytes of leaves now; if one is locked, each counts as too large for a handful."""
    relids = ", ".join(str(leaf.relid) for leaf in leaves)
    try:
        with transaction(connection, read_only=True):
            rows = execute(connection, statement("leaf_sizes", relids=relids)).all()
    except DBAPIError as error:
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        return dict.fromkeys((leaf.relid for leaf in leaves), MOST_BYTES + 1)
    return {row.relid: row.bytes for row in rows}


def execute_each(connection: Connection, queries: Sequence[str]) -> list[Sequence[Row[Any]]]:
    """Execute queries with the same columns as one statement; return the rows of each."""
    if len(queries) <= 1:
        return [execute(connection, query).all() for query in queries]
    parts = [f"SELECT {n} AS part, query.* FROM (\n{query}\n) AS query" for n, query in enumerate(queries)]
    rows: list[list[Row[Any]]] = [[] for _ in queries]
    for row in execute(connection, "\nUNION ALL\n".join(parts)):
        rows[row.part].append(row)
    return list(rows)


class Locks(NamedTuple):
    """Locks of one transaction, and how many the server's lock table holds."""

    needed: int
    capacity: int


def locks_to_drop(connection: Connection, relid: int) -> Locks:
    """Return the locks that dropping a constraint of a tree takes at once: on every table and every index of it.

    The other steps work leaf by leaf. So an upgrade can succeed where its downgrade then fails (measured).
    """
    row = execute(connection, statement("tree_locks", relid=str(relid))).one()
    return Locks(int(row.needed), int(row.capacity))
