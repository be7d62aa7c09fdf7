"""What to write in a revision instead of a plain unique constraint."""

from __future__ import annotations

from collections.abc import Sequence

from dupe_audit.schema.facts import Catalog, Index, Table


def suggestion(after: Catalog, uniques: Sequence[Index]) -> str | None:
    """Return what to write for the first index whose duplicates can be archived, or None without one.

    What is an index stays one, and a constraint stays one: the models declare either, and Alembic compares them.

    Args:
        after: the schema after the revision; the directives will use its names.
        uniques: unique indexes of that schema.
    """
    for index in uniques:
        table = after.table(index.relid)
        if table is None or table.partitioned or table.part_of is not None:
            continue  # the directives refuse the former, and a constraint on the latter covers no other partition
        if index.predicate is None and None not in index.columns and not index.primary:
            archive, restore = _cleanup(table, index)
            create, drop = (_constraint if index.constraint else _index)(table, index)
            return f"{archive}; {create}; in downgrade(): {drop}; {restore}".replace("'", '"')
    return None


def _cleanup(table: Table, index: Index) -> tuple[str, str]:
    key = f"{table.name!r}, {_columns(index)!r}{_schema(table)}"
    nulls = ", nulls_not_distinct=True" if index.nulls_not_distinct else ""
    return f"op.archive_duplicates({key}{nulls})", f"op.restore_duplicates({key})"


def _constraint(table: Table, index: Index) -> tuple[str, str]:
    options = ", nulls_not_distinct=True" if index.nulls_not_distinct else ""
    options += f", include={list(index.include)!r}" if index.include else ""
    options += ", deferrable=True" if index.deferrable else ""
    options += ", initially='DEFERRED'" if index.deferred else ""
    key, schema = f"{index.constraint!r}, {table.name!r}", _schema(table)
    create = f"op.create_unique_constraint_online({key}, {_columns(index)!r}{schema}{options})"
    return create, f"op.drop_unique_constraint_online({key}{schema})"


def _index(table: Table, index: Index) -> tuple[str, str]:
    options = ", postgresql_nulls_not_distinct=True" if index.nulls_not_distinct else ""
    options += f", postgresql_include={list(index.include)!r}" if index.include else ""
    schema, outside = _schema(table), "with op.get_context().autocommit_block(): "
    concurrently = "postgresql_concurrently=True"
    create = f"op.create_index({index.name!r}, {table.name!r}, {_columns(index)!r}, unique=True, {concurrently}"
    drop = f"op.drop_index({index.name!r}, {table.name!r}, {concurrently}{schema})"
    return f"{outside}{create}{options}{schema})", f"{outside}{drop}"


def _columns(index: Index) -> list[str]:
    return [column for column in index.columns if column is not None]


def _schema(table: Table) -> str:
    return "" if table.schema == "public" else f", schema={table.schema!r}"
