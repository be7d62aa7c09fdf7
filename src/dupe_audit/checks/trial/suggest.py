"""What to write in a revision instead of a plain unique constraint."""

from __future__ import annotations

from collections.abc import Sequence

from dupe_audit.directives.arguments import escaped
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
        if table is None or table.part_of is not None:
            continue  # a constraint on a single partition covers no other
        if not index.primary and index.method == "btree":
            archive, restore = _cleanup(table, index)
            create, drop = _create_and_drop(table, index)
            return f"{archive}; {create}; in downgrade(): {drop}; {restore}"
    return None


def _cleanup(table: Table, index: Index) -> tuple[str, str]:
    key = f"{_python(table.name)}, {_elements(index)}{_schema(table)}{_where(index)}"
    return f"op.archive_duplicates({key}{_nulls(index)})", f"op.restore_duplicates({key})"


def _create_and_drop(table: Table, index: Index) -> tuple[str, str]:
    form = "constraint" if index.constraint else "index"
    include = ", ".join(map(_python, index.include))
    options = f"{_where(index)}{_nulls(index)}"
    options += f", include=[{include}]" if include else ""
    options += ", deferrable=True" if index.deferrable else ""
    options += ', initially="DEFERRED"' if index.deferred else ""
    key, schema = f"{_python(index.constraint or index.name)}, {_python(table.name)}", _schema(table)
    create = f"op.create_unique_{form}_online({key}, {_elements(index)}{schema}{options})"
    return create, f"op.drop_unique_{form}_online({key}{schema})"


def _elements(index: Index) -> str:
    parts = [
        _python(column) if column is not None else f"sa.text({_python(escaped(sql))})"
        for column, sql in zip(index.columns, index.elements, strict=True)
    ]
    return f"[{', '.join(parts)}]"


def _where(index: Index) -> str:
    return "" if index.predicate is None else f", where={_python(index.predicate)}"


def _nulls(index: Index) -> str:
    return ", nulls_not_distinct=True" if index.nulls_not_distinct else ""


def _schema(table: Table) -> str:
    return "" if table.schema == "public" else f", schema={_python(table.schema)}"


def _python(text: str) -> str:
    """Return a text as Python, in double quotes unless it contains one."""
    python = repr(text)
    return python if '"' in python else f'"{python[1:-1]}"'
