"""Choose the tables on which a revision is tried with rows: a tree as a whole, not partition by partition."""

from __future__ import annotations

from dupe_audit.checks.evidence import EmptyTrip
from dupe_audit.schema.facts import Catalog, Table


def tables_to_try(trip: EmptyTrip) -> list[Table]:
    """Return the tables that a revision makes unique, and those on which it works under a lock that blocks writers."""
    made_unique = {index.relid for index in trip.new_unique}
    roots = trip.before.roots()
    # Work on the partitions of a locked table is tried on that table.
    locked = {
        root if (root := roots.get(table)) in dict(traced.locks) else table
        for traced in trip.statements
        if traced.blocks_writers
        for table, _work in traced.work
    }
    tables = [table for table in trip.before.tables if table.oid in made_unique or str(table) in locked]
    chosen = {table.oid for table in tables}
    # A partition gets its rows in the trip of the partitioned table, unless it alone is made unique.
    return [
        table
        for table in tables
        if not _is_part_of(table, made_unique if table.oid in made_unique else chosen, trip.before)
    ]


def _is_part_of(table: Table, parents: set[int], catalog: Catalog) -> bool:
    parent = None if table.part_of is None else catalog.table(table.part_of)
    return parent is not None and (parent.oid in parents or _is_part_of(parent, parents, catalog))
