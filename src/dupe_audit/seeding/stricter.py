"""Extras for a key that is stricter than an existing one: rows that the existing key allows and the new one forbids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.postgres.driver import execute
from dupe_audit.schema.facts import Index
from dupe_audit.schema.rowsets import extras_sql
from dupe_audit.seeding.collisions import Collisions
from dupe_audit.seeding.duplicates import Shape, always_differ, divergences, fresh_columns
from dupe_audit.seeding.plan import Plan, Variation, insert_sql
from dupe_audit.seeding.satisfy import savepoint, try_query
from dupe_audit.seeding.spec import KeySpec
from dupe_audit.statements import statement

ROUNDS = 2  #: groups per shape
TRIES = 200  #: pairs of rows that are inserted, at most, until the server accepts one
SPACING = 10  #: numbers between two groups


def add_extras(
    connection: Connection, plan: Plan, index: Index, keys: Sequence[KeySpec], shapes: frozenset[Shape], number: int
) -> None:
    """Insert a few extras if the table has none under *index*; none if the existing keys allow none that are tried.

    Args:
        connection: in a transaction.
        plan: for rows that the index compares.
        index: the new unique index.
        keys: the existing keys.
        shapes: the kinds of duplicates to generate.
        number: from which on no row has a number.
    """
    if _extras(connection, plan, index) != 0:
        return
    for shape in [shape for shape in ("exact", "divergent") if shape in shapes]:
        for _ in range(ROUNDS):
            if not _insert_one(connection, plan, index, keys, shape, number):
                break
            number += SPACING


def _insert_one(
    connection: Connection, plan: Plan, index: Index, keys: Sequence[KeySpec], shape: str, number: int
) -> bool:
    """Insert a survivor and its extra, and return whether the server accepted any that were tried."""
    before = _extras(connection, plan, index) or 0
    rows = statement("scratch/seed_groups", rows=f"({number}, {number}, 0), ({number + 1}, {number}, 1)")
    for variation in islice(_variations(connection, plan, index, keys, shape, number), TRIES):
        with suppress(DBAPIError, _NoExtra), savepoint(connection):
            execute(connection, insert_sql(plan, rows, variation))
            _require_more(_extras(connection, plan, index) or 0, before)
            return True
    return False


class _NoExtra(Exception):
    """The inserted rows are not extras; raised to roll the savepoint back."""


def _require_more(count: int, before: int) -> None:
    if count <= before:
        raise _NoExtra


def _variations(
    connection: Connection, plan: Plan, index: Index, keys: Sequence[KeySpec], shape: str, number: int
) -> Iterator[Variation]:
    used = plan.spec.inputs(index.reads)
    # A key that shares every column which could distinguish the rows is left to the server: only some values obey it.
    separable = [key for key in keys if fresh_columns(plan, used, [key]) is not None]
    fresh = fresh_columns(plan, used, separable) or frozenset()
    collisions = Collisions(connection, plan, index, number)
    differ = always_differ(plan, fresh)
    for pairs in collisions.equal():
        if (shape == "divergent") == differ:
            yield Variation(fresh=fresh, pairs=pairs)
        elif shape == "divergent":
            for variation in divergences(plan, used, fresh):
                yield Variation(fresh=fresh, divergent=variation.divergent, pairs=pairs)
    if shape == "divergent":
        yield from (Variation(fresh=fresh, pairs=pairs) for pairs in collisions.different())


def _extras(connection: Connection, plan: Plan, index: Index) -> int | None:
    """Return the number of extras in the table, or None if they cannot be counted."""
    rows = try_query(connection, extras_sql(plan.spec.name, index))
    return None if rows is None else int(str(rows[0][0]))
