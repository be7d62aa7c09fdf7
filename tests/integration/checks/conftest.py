"""Fixtures for the tests of seeding: fill a table that lacks a unique index."""

import pytest

from dupe_audit.schema.facts import Index, Table
from dupe_audit.seeding import ALL, fill

INDEX = """
SELECT i.indexrelid::int8 AS oid, n.nspname AS schema, ic.relname AS name, i.indrelid::int8 AS relid,
       c.relname AS "table", i.indisunique AS "unique", i.indisprimary AS "primary", i.indisvalid AS valid,
       am.amname AS method,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true)
             FROM generate_series(1, i.indnkeyatts::int) AS k) AS elements,
       ARRAY(SELECT (SELECT attname::text FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = i.indkey[k - 1])
             FROM generate_series(1, i.indnkeyatts::int) AS k) AS columns,
       ARRAY(SELECT attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum > 0
             AND (a.attnum = ANY (i.indkey::int2[]) OR EXISTS (
                 SELECT FROM pg_depend d WHERE d.objid = i.indexrelid AND d.refobjid = i.indrelid
                 AND d.refobjsubid = a.attnum)) ORDER BY attnum) AS reads,
       pg_get_expr(i.indpred, i.indrelid) AS predicate,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_not_distinct,
       pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am am ON am.oid = ic.relam
WHERE ic.relname = 'new'
"""


@pytest.fixture
def seeded(sql, conn):
    """Fill a table that lacks these unique indexes; each is created once and dropped, to read its facts."""
    indexes = {}

    def index(definition, table):
        sql(f"CREATE UNIQUE INDEX new ON {table} {definition}")
        row = conn.exec_driver_sql(INDEX).mappings().one()
        sql("DROP INDEX new")
        lists = {name: tuple(row[name]) for name in ("elements", "columns", "reads")}
        return Index(**{**row, **lists}, include=(), constraint=None, deferrable=False, deferred=False)

    def seeded(*definitions, rows=200, seed=1, table="t", shapes=ALL):
        ((oid,),) = sql(f"SELECT '{table}'::regclass::oid")
        for definition in definitions:
            if (oid, definition) not in indexes:
                indexes[oid, definition] = index(definition, table)
        uniques = [indexes[oid, definition] for definition in definitions]
        facts = Table(oid=oid, schema="public", name=table)
        return fill(conn, facts, uniques, rows=rows, seed=seed, revision="r1", shapes=shapes)

    return seeded


@pytest.fixture
def table(sql):
    """Re-create table t with an id and these columns."""

    def table(columns, primary="id serial PRIMARY KEY"):
        sql(f"DROP TABLE IF EXISTS t; CREATE TABLE t ({primary}, {columns})")

    return table
