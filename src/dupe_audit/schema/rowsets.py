"""Count and compare rows of a scratch database without trusting an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import (
    INDETERMINATE_COLLATION,
    INVALID_TEXT_REPRESENTATION,
    UNDEFINED_COLUMN,
    UNDEFINED_FUNCTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
    sqlstate,
)
from dupe_audit.schema.facts import Index, Table
from dupe_audit.statements import ident, literal

#: a table's name, and how often each of its rows is there, by the MD5 of its text
Rows = dict[str, "Counter[str]"]

#: a column, a function, a type, an object, a collation, an enum's label that is not there
UNDEFINED = (
    UNDEFINED_COLUMN,
    UNDEFINED_FUNCTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
    INDETERMINATE_COLLATION,
    INVALID_TEXT_REPRESENTATION,
)

#: planner settings without which a scan could read an index that is not in order
_SCANS = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")


def key_of(index: Index) -> str:
    """Return the uniqueness as people write it."""
    where = f" WHERE {index.predicate}" if index.predicate else ""
    nulls = " NULLS NOT DISTINCT" if index.nulls_not_distinct else ""
    return f"({', '.join(index.keys)}){nulls}{where}"


def has_columns(connection: Connection, index: Index, relid: int | None = None) -> bool:
    """Tell whether the columns that an index will read are there yet, in its table or in another."""
    there = execute(
        connection,
        "SELECT attname::pg_catalog.text FROM pg_catalog.pg_attribute "
        f"WHERE attrelid = {relid or index.relid}::pg_catalog.oid AND NOT attisdropped",
    )
    return set(index.uses) <= set(there.scalars())


def extras_before(connection: Connection, table: str, index: Index, relid: int | None = None) -> int:
    """Return how many extras an index will meet that is still to come; 0 where that cannot be asked yet.

    A revision may add the columns that its index reads, and functions that it calls.
    """
    if not has_columns(connection, index, relid):
        return 0
    try:
        return count_extras(connection, table, index)
    except DBAPIError as error:
        if sqlstate(error) in UNDEFINED:
            return 0
        raise


def count_extras(connection: Connection, table: str, index: Index) -> int:
    """Return how many rows would have to leave for *index* to be unique.

    Args:
        connection: autocommit.
        table: the table's name as SQL.
        index: a unique index; it need not exist, but the columns it reads must.
    """
    keys = ", ".join(f"({key})" for key in index.keys)
    conditions = [f"({index.predicate})"] if index.predicate else []
    if not index.nulls_not_distinct:
        # Not `(expression) IS NOT NULL`, which looks into a composite value.
        conditions += [f"pg_catalog.num_nulls({keys}) = 0"]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    counts = f"SELECT pg_catalog.count(*) AS n FROM {table} {where} GROUP BY {keys}"
    with _scans(connection):
        return int(
            execute(connection, f"SELECT coalesce(sum(n - 1), 0)::pg_catalog.int8 FROM ({counts}) AS g").scalar_one()
        )


@contextmanager
def _scans(connection: Connection) -> Iterator[None]:
    for name in _SCANS:
        execute(connection, f"SET {name} = off")
    try:
        yield
    finally:
        for name in _SCANS:
            execute(connection, f"RESET {name}")


def take(connection: Connection, tables: Sequence[Table]) -> Rows:
    """Return the rows of those tables that have any, column by column in the order of their names.

    A table is looked up by its name: a downgrade may have made it anew.
    """
    return {str(table): rows for table in tables if (rows := Counter(_digests(connection, table)))}


def lost_and_gained(before: Rows, after: Rows) -> dict[str, tuple[int, int]]:
    """Return for each table that differs how many rows are gone, and how many are there that were not."""
    told = {}
    for table in before.keys() | after.keys():
        was, now = before.get(table, Counter()), after.get(table, Counter())
        if was != now:
            told[table] = (was - now).total(), (now - was).total()
    return told


def _digests(connection: Connection, table: Table) -> list[str]:
    name = ident(table.schema, table.name)
    columns = execute(
        connection,
        "SELECT attname::pg_catalog.text FROM pg_catalog.pg_attribute "
        f"WHERE attrelid = pg_catalog.to_regclass({literal(name)}) AND attnum > 0 AND NOT attisdropped ORDER BY 1",
    ).scalars()
    row = ", ".join(ident(column) for column in columns)
    if not row:
        return []  # the table is gone, or has nothing to compare
    return list(execute(connection, f"SELECT pg_catalog.md5(ROW({row})::pg_catalog.text) FROM {name}").scalars())
