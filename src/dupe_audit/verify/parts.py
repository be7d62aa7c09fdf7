"""Verify the parts of a constraint or an index on the tables of a tree, by the catalog and by amcheck."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding, finding
from dupe_audit.model import IndexState, UniqueKey
from dupe_audit.postgres.amcheck import Amcheck, compare, find_amcheck
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.trees import handfuls, leaves
from dupe_audit.statements import literal, statement


def part_findings(connection: Connection, key: UniqueKey, relation: Relation, state: IndexState) -> list[Finding]:
    """Return a finding for each table of a tree that does not enforce the key."""
    sql = statement(
        "tree_parts",
        relid=str(relation.relid),
        index=str(state.oid),
        is_constraint=literal(key.form == "constraint"),
        deferrable=literal(key.deferrable),
        deferred=literal(key.initially == "DEFERRED"),
    )
    return [finding("leaf-not-enforced", row.problem, table=row.table) for row in execute(connection, sql)]


def compare_leaves(connection: Connection, relation: Relation, state: IndexState) -> list[Finding]:
    """Compare each leaf with its index by amcheck, if that is installed; small leaves are compared together.

    Returns:
        A finding for each leaf whose index is damaged; a problem with amcheck itself is reported once.
    """
    amcheck = find_amcheck(connection)
    if amcheck is None:
        return [finding("amcheck-missing")]
    findings: list[Finding] = []
    parts = _leaf_parts(connection, state)
    for handful in handfuls(connection, leaves(connection, relation.relid)):
        indexes = [parts[leaf.relid] for leaf in handful if leaf.relid in parts]
        if len(indexes) > 1 and _are_sound(connection, amcheck, indexes):
            continue
        # amcheck stops at the first index that is damaged.
        for index in indexes:
            findings += _compare_leaf(connection, amcheck, index, state)
    return list({each.message: each for each in findings}.values())


def _leaf_parts(connection: Connection, state: IndexState) -> dict[int, int]:
    """Return the valid indexes of leaves that are attached, by the oids of the leaves."""
    rows = execute(connection, statement("leaf_parts", index=str(state.oid)))
    return {row.relid: row.part for row in rows}


def _are_sound(connection: Connection, amcheck: Amcheck, indexes: list[int]) -> bool:
    """Return whether amcheck finds nothing; False if a leaf is locked or gone, so that each is compared alone."""
    try:
        return not compare(connection, amcheck, indexes)
    except DBAPIError:
        return False


def _compare_leaf(connection: Connection, amcheck: Amcheck, index: int, state: IndexState) -> list[Finding]:
    try:
        return compare(connection, amcheck, [index])
    except DBAPIError:
        if index in _leaf_parts(connection, state).values():
            raise
        return []  # the leaf was detached or dropped meanwhile
