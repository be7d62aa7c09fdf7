"""Rows for each leaf of a partitioned table: values that are generated for the whole table seldom reach all leaves."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.seeding.build import Builder
from dupe_audit.seeding.plan import Plan
from dupe_audit.seeding.satisfy import CannotFill
from dupe_audit.seeding.spec import conjuncts
from dupe_audit.statements import statement

MOST = 20  #: maximum number of leaves that are filled separately
ROWS = 24  #: row numbers per leaf


def leaf_plans(
    connection: Connection, builder: Builder, first: int, *, empty: bool
) -> Iterator[tuple[str, Plan, int, int]]:
    """Yield a plan for each leaf, with its name, the number of its first row, and how many rows fit into it.

    Args:
        connection: in a transaction.
        builder: of the table.
        first: number from which on no row number is in use.
        empty: whether leaves that have rows are left out.
    """
    spec = builder.spec
    leaves = execute(connection, statement("scratch/seed_leaves", relid=str(spec.oid))).all()
    for leaf in leaves[:MOST] if len(leaves) > 1 else ():
        if empty and execute(connection, f"SELECT FROM {leaf.name} LIMIT 1").all():
            continue
        require = [spec.check(leaf.name, part, strict=True) for part in conjuncts(leaf.condition)]
        try:
            plan, capacity = builder.plan(first, ROWS, require)
        except CannotFill:
            continue  # no generated value is within its bounds
        yield leaf.name, plan, first, min(ROWS, capacity or ROWS)
        first += ROWS
