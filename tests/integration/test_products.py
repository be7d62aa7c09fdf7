"""Hypertables and other servers are recognised by their documented signs, here made by hand on PostgreSQL."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from dupe_audit import UniqueKey
from dupe_audit.connect import connect
from dupe_audit.errors import Refused
from dupe_audit.model import CleanupRule
from dupe_audit.preflight import blockers, preflight

KEY = UniqueKey(table="t", columns=("k",), name="uq")
TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT n, 7 FROM generate_series(1, 9) AS n"

#: the columns of TimescaleDB 2.22 that matter, of the catalog's own types
HYPERTABLE = """
CREATE SCHEMA _timescaledb_catalog;
CREATE TABLE _timescaledb_catalog.hypertable (id int PRIMARY KEY, schema_name name NOT NULL, table_name name NOT NULL);
INSERT INTO _timescaledb_catalog.hypertable VALUES (1, 'public', 't');
CREATE SCHEMA _timescaledb_internal;
CREATE TABLE _timescaledb_internal._hyper_1_1_chunk () INHERITS (public.t);
CREATE TABLE public.u (id int PRIMARY KEY, k int)
"""
CHUNK = replace(KEY, schema="_timescaledb_internal", table="_hyper_1_1_chunk")


def version(text: str) -> str:
    """Return what makes the server call itself something else in this database, as a superuser can."""
    return f"CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text LANGUAGE sql STABLE AS $$SELECT '{text}'$$"


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("PostgreSQL 15.12-YB-2025.1.0.1-b3 on x86_64-pc-linux-gnu", "yugabytedb"),
        ("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)", "cockroachdb"),
    ],
)
def test_another_server_is_refused_by_its_first_answer(sql, conn, text, id_):
    """A server that is not PostgreSQL is asked for its version and nothing else, and keeps its settings."""
    sql(f"{TABLE}; {version(text)}")
    sent: list[str] = []
    event.listen(conn.engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    report = preflight(conn, KEY)
    assert ([id_], None) == ([f.id for f in report.findings], report.counts)
    assert [id_] == [f.id for f in blockers(conn, KEY, CleanupRule(), accept=(id_,))]
    assert ["SELECT pg_catalog.version()"] * 2 == sent


def test_commands_refuse_cockroachdb_when_they_connect(sql, database_url):
    """SQLAlchemy cannot read the version of CockroachDB, so connecting ends with the finding, not with its error."""
    sql(version("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)"))
    with pytest.raises(Refused) as refused:
        connect(database_url.replace("+psycopg", ""))
    assert ["cockroachdb"] == [f.id for f in refused.value.findings]


def test_hypertable_and_chunk_are_refused_before_anything_is_counted(sql, conn):
    """A hypertable and each of its chunks have one finding, also without chunks; other tables are not affected."""
    sql(f"{TABLE}; {HYPERTABLE}")
    for key, kind in ((KEY, "public.t is a hypertable of"), (CHUNK, "_hyper_1_1_chunk is a chunk of t of")):
        report = preflight(conn, key)
        assert (["timescaledb-table"], None) == ([f.id for f in report.findings], report.counts)
        assert kind in report.findings[0].message
        assert ["timescaledb-table"] == [f.id for f in blockers(conn, key, CleanupRule())]
    assert [] == blockers(conn, replace(KEY, table="u"), CleanupRule())
    sql("DROP TABLE _timescaledb_internal._hyper_1_1_chunk")
    assert ["timescaledb-table"] == [f.id for f in blockers(conn, KEY, CleanupRule())]


FILLED = "INSERT INTO _timescaledb_catalog.hypertable VALUES ('public', 't')"


@pytest.mark.parametrize(
    "catalog",
    [
        "CREATE VIEW _timescaledb_catalog.hypertable AS SELECT name 'public' schema_name, trap()::name AS table_name",
        f"CREATE TABLE _timescaledb_catalog.hypertable (schema_name text, table_name text); {FILLED}",
        f"""CREATE TABLE _timescaledb_catalog.hypertable (schema_name name, table_name name); {FILLED};
        ALTER TABLE _timescaledb_catalog.hypertable ENABLE ROW LEVEL SECURITY""",
    ],
    ids=["view", "other types", "policies"],
)
def test_a_catalog_that_could_execute_something_is_not_read(sql, conn, catalog):
    """What only has the name of TimescaleDB's catalog is not read, because that could call another role's code."""
    sql(f"{TABLE}; CREATE SCHEMA _timescaledb_catalog")
    sql("CREATE FUNCTION trap() RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'the view was read'; END$$")
    sql(catalog)
    assert [] == blockers(conn, KEY, CleanupRule())
