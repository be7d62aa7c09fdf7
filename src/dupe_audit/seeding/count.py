"""Count in the database what a filled table holds: extras, NULL keys, and who references them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.schema.facts import Index
from dupe_audit.seeding.spec import ForeignKey, Spec
from dupe_audit.statements import ident, statement

GROUPS = 6  #: whose rows are all referenced
OTHERS = 5  #: rows that are referenced and in no group


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a filled table holds."""

    rows: int
    exact: int = 0
    divergent: int = 0
    null_keys: int = 0
    referenced: int = 0


def counted(connection: Connection, spec: Spec, uniques: Sequence[Index], children: Sequence[ForeignKey]) -> Counted:
    """Count the rows, and each extra once, however many keys it violates."""
    rows = execute(connection, f"SELECT pg_catalog.count(*) FROM {spec.name}").scalar_one()
    if not uniques:
        return Counted(rows=rows)
    referenced = " OR ".join(_references(connection, spec, fk) for fk in children) or "false"
    parts = " UNION ALL ".join(_extras(spec, index, referenced) for index in uniques)
    found = execute(connection, statement("scratch/seed_count", parts=parts)).one()
    return Counted(rows=rows, **found._mapping)  # noqa: SLF001 - that is how SQLAlchemy calls a row as a mapping


def referable(spec: Spec, referenced: Sequence[str], uniques: Sequence[Index]) -> str:
    """Return the query of rows that children shall reference: all of a few groups under each key, and others."""
    chosen = []
    for index in uniques:
        names = [f"k{n}" for n in range(len(index.keys))]
        cells = ", ".join(f"{spec.alias}.{ident(name)} AS c{n}" for n, name in enumerate(referenced))
        there = " AND ".join(f"{spec.alias}.{ident(name)} IS NOT NULL" for name in referenced)
        where = f"({index.predicate or 'true'}) AND {there}"
        if not index.nulls_not_distinct:
            where += f" AND NOT ({_has_null(index)})"
        columns = ", ".join(f"x.c{n}" for n in range(len(referenced)))
        sized = (
            f"SELECT s.*, pg_catalog.count(*) OVER (PARTITION BY {', '.join(names)}) AS size "
            f"FROM (SELECT {cells}, {_keys(index)} FROM {spec.name} AS {spec.alias} WHERE {where}) AS s"
        )
        place = f"pg_catalog.dense_rank() OVER (ORDER BY z.size DESC, {', '.join(names)}) AS place"
        ranked = f"SELECT z.*, {place} FROM ({sized}) AS z"
        chosen.append(f"(SELECT {columns} FROM ({ranked}) AS x WHERE x.size > 1 AND x.place <= {GROUPS})")
        chosen.append(f"(SELECT {columns} FROM ({ranked}) AS x WHERE x.size = 1 ORDER BY x.place LIMIT {OTHERS})")
    return " UNION ".join(chosen)


def trial(spec: Spec, index: Index) -> str:
    """Return a query that fails where the index's keys and predicate cannot be asked about."""
    return f"SELECT {_keys(index)} FROM {spec.name} AS {spec.alias} WHERE {index.predicate or 'true'} LIMIT 0"


def _keys(index: Index) -> str:
    return ", ".join(f"({key}) AS k{n}" for n, key in enumerate(index.keys))


def _has_null(index: Index) -> str:
    return " OR ".join(f"({key}) IS NULL" for key in index.keys)


def _extras(spec: Spec, index: Index, referenced: str) -> str:
    ignored: Collection[str] = spec.primary | {c.name for c in spec.columns if c.generated is not None}
    primary = [column.name for column in spec.columns if column.name in spec.primary]
    order = [ident(name) for name in primary] or [f"{spec.alias}.tableoid", f"{spec.alias}.ctid"]
    return statement(
        "scratch/seed_extras",
        table=spec.name,
        alias=spec.alias,
        keys=_keys(index),
        key_names=", ".join(f"t.k{n}" for n in range(len(index.keys))),
        has_null=_has_null(index),
        counts="true" if index.nulls_not_distinct else f"NOT ({_has_null(index)})",
        referenced=referenced,
        rest=", ".join(f"{spec.alias}.{ident(c.name)}" for c in spec.columns if c.name not in ignored),
        order_by=", ".join(order),
        predicate=index.predicate or "true",
    )


def _references(connection: Connection, spec: Spec, fk: ForeignKey) -> str:
    child = execute(connection, f"SELECT {fk.child}::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text").scalar_one()
    pairs = zip(fk.columns, fk.referenced, strict=True)
    same = " AND ".join(f"ref.{ident(mine)} = {spec.alias}.{ident(theirs)}" for mine, theirs in pairs)
    if fk.child == spec.oid:  # a row that references itself leaves with itself
        same += f" AND (ref.tableoid, ref.ctid) IS DISTINCT FROM ({spec.alias}.tableoid, {spec.alias}.ctid)"
    return f"EXISTS (SELECT FROM {child} AS ref WHERE {same})"
