"""Count and compare rows without trusting an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import NO_INDEX
from dupe_audit.postgres.session import settings
from dupe_audit.postgres.sqlstates import (
    CLASS_DATA,
    INDETERMINATE_COLLATION,
    UNDEFINED_COLUMN,
    UNDEFINED_FUNCTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
    sqlstate,
)
from dupe_audit.schema.facts import Index, Table
from dupe_audit.statements import ident, literal, statement

#: by table: how often each row occurs, by the MD5 of its text
Rows = dict[str, "Counter[str]"]

#: a column, function, type, table or collation that does not exist
UNDEFINED = (
    UNDEFINED_COLUMN,
    UNDEFINED_FUNCTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
    INDETERMINATE_COLLATION,
)


def describe_key(index: Index) -> str:
    """Return what the index makes unique, such as ``(a, lower(b)) NULLS NOT DISTINCT WHERE c``."""
    where = f" WHERE {index.predicate}" if index.predicate else ""
    nulls = " NULLS NOT DISTINCT" if index.nulls_not_distinct else ""
    return f"({', '.join(index.elements)}){nulls}{where}"


def has_columns(connection: Connection, index: Index, relid: int | None = None) -> bool:
    """Return whether the columns that an index reads exist, in its own table or in the one with the oid *relid*."""
    return set(index.reads) <= set(_columns(connection, str(relid or index.relid)))


def _columns(connection: Connection, relid: str) -> list[str]:
    return list(execute(connection, statement("relation_columns", relid=relid)).scalars())


def extras_before(connection: Connection, table: str, index: Index, relid: int | None = None) -> int:
    """Return how many extras a table holds under an index that a revision will create.

    Args:
        connection: autocommit.
        table: the table's name as SQL.
        index: the unique index.
        relid: oid of the table, if it is not the index's own.

    Returns:
        0 if they cannot be counted yet: the revision may first add columns that its index reads, or functions that it
        calls, or change values that its index cannot read.
    """
    if not has_columns(connection, index, relid):
        return 0
    try:
        return count_extras(connection, table, index)
    except DBAPIError as error:
        state = sqlstate(error) or ""
        if state in UNDEFINED or state.startswith(CLASS_DATA):  # such as an enum label that does not exist
            return 0
        raise


def count_extras(connection: Connection, table: str, index: Index) -> int:
    """Return how many rows would have to be removed for *index* to be unique.

    Args:
        connection: autocommit.
        table: the table's name as SQL.
        index: a unique index; it need not exist, but the columns it reads must.
    """
    with settings(connection, NO_INDEX):
        return int(execute(connection, extras_sql(table, index)).scalar_one())


def extras_sql(table: str, index: Index) -> str:
    """Return the query that counts the extras under an index; *table* is an item of FROM."""
    where = f"WHERE {' AND '.join(conditions)}" if (conditions := compared(index)) else ""
    return statement("count_index_extras", table=table, where=where, keys=elements_sql(index))


def elements_sql(index: Index) -> str:
    """Return the elements of an index, as a list of expressions."""
    return ", ".join(f"({element})" for element in index.elements)


def compared(index: Index) -> list[str]:
    """Return the conditions that a row satisfies if an index compares it with others."""
    conditions = [f"({index.predicate})"] if index.predicate else []
    if not index.nulls_not_distinct:
        # Not `(expression) IS NOT NULL`, which is false for a composite value with a NULL in it.
        conditions += [f"pg_catalog.num_nulls({elements_sql(index)}) = 0"]
    return conditions


def digest_rows(connection: Connection, tables: Sequence[Table]) -> Rows:
    """Return the digests of the rows of those tables that have any, independent of the order of their columns.

    A table is looked up by name, because a downgrade may have re-created it.
    """
    return {str(table): rows for table in tables if (rows := Counter(_digests(connection, table)))}


def lost_and_gained(before: Rows, after: Rows) -> dict[str, tuple[int, int]]:
    """Return, for each table that differs, how many rows it has lost and how many it has gained."""
    differences = {}
    for table in before.keys() | after.keys():
        old, new = before.get(table, Counter()), after.get(table, Counter())
        if old != new:
            differences[table] = (old - new).total(), (new - old).total()
    return differences


def _digests(connection: Connection, table: Table) -> list[str]:
    name = ident(table.schema, table.name)
    columns = _columns(connection, f"pg_catalog.to_regclass({literal(name)})")
    row = ", ".join(ident(column) for column in columns)
    if not row:
        return []  # the table does not exist any more, or has no columns
    digests = statement("scratch/row_digests", columns=row, table=name)
    return list(execute(connection, digests).scalars())
