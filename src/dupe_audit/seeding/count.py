"""Count in the database what a filled table holds: extras, NULL keys, and extras that are referenced."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.schema.facts import Index
from dupe_audit.seeding.spec import ForeignKeySpec, TableSpec, count_rows, table_name
from dupe_audit.statements import ident, statement

GROUPS = 6  #: per key; every row of these is referenced
OTHERS = 5  #: referenced rows per key that are in no group


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateCounts:
    """What a filled table holds."""

    rows: int
    exact: int = 0
    divergent: int = 0
    null_keys: int = 0
    referenced: int = 0


def count_duplicates(
    connection: Connection, spec: TableSpec, uniques: Sequence[Index], children: Sequence[ForeignKeySpec]
) -> DuplicateCounts:
    """Count the rows; an extra counts once, however many keys it violates."""
    rows = count_rows(connection, spec.name)
    if not uniques:
        return DuplicateCounts(rows=rows)
    referenced = " OR ".join(_references(connection, spec, fk) for fk in children) or "false"
    parts = " UNION ALL ".join(_extras(spec, index, referenced) for index in uniques)
    row = execute(connection, statement("scratch/seed_count", parts=parts)).one()
    return DuplicateCounts(rows=rows, **row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


def referable_sql(spec: TableSpec, referenced: Sequence[str], uniques: Sequence[Index]) -> str:
    """Return the query of the rows that other tables shall reference: all of a few groups per key, and some others."""
    queries = []
    for index in uniques:
        conditions = [f"({index.predicate or 'true'})"]
        conditions += [f"{spec.alias}.{ident(name)} IS NOT NULL" for name in referenced]
        if not index.nulls_not_distinct:
            conditions.append(f"NOT ({_has_null(index)})")
        query = statement(
            "scratch/seed_referable",
            table=spec.name,
            alias=spec.alias,
            cells=", ".join(f"{spec.alias}.{ident(name)} AS c{n}" for n, name in enumerate(referenced)),
            keys=_elements(index),
            condition=" AND ".join(conditions),
            key_names=", ".join(f"k{n}" for n in range(len(index.elements))),
            columns=", ".join(f"x.c{n}" for n in range(len(referenced))),
            groups=str(GROUPS),
            others=str(OTHERS),
        )
        queries.append(f"({query})")
    return " UNION ".join(queries)


def probe_sql(spec: TableSpec, index: Index) -> str:
    """Return a query that fails if the index's elements and predicate cannot be evaluated on the table yet."""
    return f"SELECT {_elements(index)} FROM {spec.name} AS {spec.alias} WHERE {index.predicate or 'true'} LIMIT 0"


def _elements(index: Index) -> str:
    return ", ".join(f"({element}) AS k{n}" for n, element in enumerate(index.elements))


def _has_null(index: Index) -> str:
    return " OR ".join(f"({element}) IS NULL" for element in index.elements)


def _extras(spec: TableSpec, index: Index, referenced: str) -> str:
    ignored: Collection[str] = spec.primary | {c.name for c in spec.columns if c.generated is not None}
    primary = [column.name for column in spec.columns if column.name in spec.primary]
    order = [ident(name) for name in primary] or [f"{spec.alias}.tableoid", f"{spec.alias}.ctid"]
    return statement(
        "scratch/seed_extras",
        table=spec.name,
        alias=spec.alias,
        keys=_elements(index),
        key_names=", ".join(f"t.k{n}" for n in range(len(index.elements))),
        has_null=_has_null(index),
        countable="true" if index.nulls_not_distinct else f"NOT ({_has_null(index)})",
        referenced=referenced,
        payload=", ".join(f"{spec.alias}.{ident(c.name)}" for c in spec.columns if c.name not in ignored),
        order_by=", ".join(order),
        predicate=index.predicate or "true",
    )


def _references(connection: Connection, spec: TableSpec, fk: ForeignKeySpec) -> str:
    child = table_name(connection, fk.child)
    pairs = zip(fk.columns, fk.referenced, strict=True)
    same = " AND ".join(f"ref.{ident(column)} = {spec.alias}.{ident(referenced)}" for column, referenced in pairs)
    if fk.child == spec.oid:  # a row's reference to itself does not count: both are removed together
        same += f" AND (ref.tableoid, ref.ctid) IS DISTINCT FROM ({spec.alias}.tableoid, {spec.alias}.ctid)"
    return f"EXISTS (SELECT FROM {child} AS ref WHERE {same})"
