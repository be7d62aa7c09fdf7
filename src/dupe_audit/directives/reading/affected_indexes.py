"""Existing unique indexes that a revision builds again, over other values of a column or over a partition's rows."""

from __future__ import annotations

import re
from collections.abc import Collection

from sqlalchemy import Connection

from dupe_audit.directives.operations import UNKNOWN
from dupe_audit.directives.reading.changes import Retyped
from dupe_audit.directives.reading.retyping import stays_distinct
from dupe_audit.directives.reading.sql_text import NAME, qualified, unquoted
from dupe_audit.directives.reading.tables import IndexImpact
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import ident, literal, statement


def indexes_at_risk(
    connection: Connection, schema: str | None, impact: IndexImpact, enums: Collection[str]
) -> list[str]:
    """Return the names of the existing unique indexes of a table that what a revision does to it may violate.

    Args:
        connection: in autocommit.
        schema: in which the table is now.
        impact: what the revision does.
        enums: names of enums that revisions create.
    """
    relid = _relid(connection, schema, impact.table.first[1])
    if relid is None:
        return []
    if isinstance(impact.cause, Retyped):
        names = _compared(connection, relid, impact, impact.cause, enums)
    else:
        names = _missing_in_partition(connection, relid, impact)
    return [name for name in names if name not in impact.dropped]


def _relid(connection: Connection, schema: str | None, table: str) -> int | None:
    match = catalog.find(connection, UniqueKey(table=table, schema=schema, columns=(UNKNOWN,)))
    return match[1].relid if match else None


def _compared(
    connection: Connection, relid: int, impact: IndexImpact, cause: Retyped, enums: Collection[str]
) -> list[str]:
    """Return the indexes that compare a column, if its values can become equal with its new type."""
    column = impact.column
    if column is None or column.added:
        return []
    name = cause.type if cause.type and re.fullmatch(NAME, cause.type) else ""
    # Quoted, because to_regtype() of PostgreSQL 15 and older fails on a text that is no name of a type.
    quoted = ident(*filter(None, qualified(name))) if name else None
    query = statement("column_keys", relid=str(relid), column=literal(column.first), new_type=literal(quoted))
    rows = execute(connection, query).all()
    if not rows:
        return []
    labelled = {*enums, *([rows[0].type] if rows[0].is_enum else [])}
    labelled |= {unquoted(each) for each in re.findall(NAME, name)} if rows[0].becomes_enum else set()
    if stays_distinct(str(rows[0].type), cause.type, cause.using, cause.column, labelled):
        return []
    return [str(row.name) for row in rows]


def _missing_in_partition(connection: Connection, relid: int, impact: IndexImpact) -> list[str]:
    """Return the indexes of a partitioned table that its new partition does not have yet."""
    partition = impact.partition
    own = None if partition is None else _relid(connection, *partition.first)
    query = statement("unique_indexes", relid=str(relid))
    existing = [] if own is None else execute(connection, statement("unique_indexes", relid=str(own))).all()
    proven = [set(row.columns) for row in existing if row.is_plain and row.valid]
    return [
        str(row.name)
        for row in execute(connection, query).all()
        if not (row.is_plain and any(columns <= set(row.columns) for columns in proven))
    ]
