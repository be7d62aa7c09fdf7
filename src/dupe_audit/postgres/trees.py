"""Partitioned tables: the tables of a tree, and the SQL that reads one of its leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation, fragments
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement

#: stands for the name of a leaf in SQL that was derived once for a whole tree; it is an identifier that nobody has
PLACEHOLDER = '"dupe-audit leaf"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A table of a tree: the partitioned table itself, an inner level or a leaf."""

    relation: Relation
    parent: int  #: oid of the table that it is a partition of; 0 for the root
    level: int  #: 0 for the root
    is_foreign: bool  #: whether another server has its rows

    @property
    def is_leaf(self) -> bool:
        """Whether it has rows of its own."""
        return not self.relation.is_tree


def members(connection: Connection, relid: int) -> list[Member]:
    """Return the tables of a tree, the root first, then level by level, in the order of their oids."""
    rows = execute(connection, statement("tree", relid=str(relid))).mappings()
    return [_member(dict(row)) for row in rows]


def _member(row: dict[str, object]) -> Member:
    own = {name: row.pop(name) for name in ("parent", "level", "is_foreign")}
    return Member(relation=Relation(**row), **own)  # type: ignore[arg-type]


def leaves(connection: Connection, relid: int) -> list[Relation]:
    """Return the leaves of a tree in the order of their oids."""
    return sorted((each.relation for each in members(connection, relid) if each.is_leaf), key=lambda leaf: leaf.relid)


def is_leaf_of(connection: Connection, leaf: Relation, relid: int) -> bool:
    """Return whether a table is still a leaf of the tree under the name that it had."""
    return leaf.name in {each.name for each in leaves(connection, relid) if each.relid == leaf.relid}


def tree_fragments(connection: Connection, root: Relation, key: UniqueKey, rule: CleanupRule) -> dict[str, str]:
    """Return the pieces of SQL for any leaf of a tree; ``of_leaf`` names the leaf.

    A leaf has the columns of its root by name, so they are derived once: for each of 5,000 leaves it would take longer
    than to count them.
    """
    return fragments(connection, root, key, rule, placeholder=PLACEHOLDER)


def of_leaf(holes: Mapping[str, str], leaf: Relation) -> dict[str, str]:
    """Return what fills the statements about one leaf."""
    named = {name: value.replace(PLACEHOLDER, leaf.name) for name, value in holes.items()}
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
        yield leaf, of_leaf(pieces, leaf)


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
