"""What to write in a revision instead of a plain unique constraint."""

from __future__ import annotations

from collections.abc import Sequence

from dupe_audit.schema.facts import Catalog, Index, Table


def suggestion(after: Catalog, uniques: Sequence[Index]) -> str | None:
    """Return the directives for the first index that a constraint can express, or None without one.

    Args:
        after: the schema after the revision; the directives will use its names.
        uniques: unique indexes of that schema.
    """
    for index in uniques:
        table = after.table(index.relid)
        if table is None or table.partitioned or table.part_of is not None:
            continue  # the directives refuse the former, and a constraint on the latter covers no other partition
        if index.predicate is None and None not in index.columns and not index.primary:
            return _directives(table, index)
    return None


def _directives(table: Table, index: Index) -> str:
    columns = [column for column in index.columns if column is not None]
    schema = "" if table.schema == "public" else f", schema={table.schema!r}"
    nulls = ", nulls_not_distinct=True" if index.nulls_not_distinct else ""
    # Only the directive that builds the index accepts these.
    options = f", include={list(index.include)!r}" if index.include else ""
    options += ", deferrable=True" if index.deferrable else ""
    options += ", initially='DEFERRED'" if index.deferred else ""
    name = index.constraint or index.name
    return (
        f"op.archive_duplicates({table.name!r}, {columns!r}{schema}{nulls}); "
        f"op.create_unique_constraint_online({name!r}, {table.name!r}, {columns!r}{schema}{nulls}{options}); "
        f"in downgrade(): op.drop_unique_constraint_online({name!r}, {table.name!r}{schema}); "
        f"op.restore_duplicates({table.name!r}, {columns!r}{schema})"
    ).replace("'", '"')
