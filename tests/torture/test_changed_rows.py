"""Amended and merged rows: a backend that dies at any statement, and a database that is dumped and restored."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.errors import DupeAuditError
from dupe_audit.model import Change, CleanupRule, Expression, Merge, UniqueKey
from dupe_audit.restore import restore
from thoroughness import EXHAUSTIVE
from torture.kills import Kill, armed
from torture.moving import CUSTOM, copy

pytestmark = pytest.mark.torture

#: every which statement to die at
STEP = 1 if EXHAUSTIVE else 67
NAME = UniqueKey(table="t", columns=("name",))
LETTER = UniqueKey(table="t", columns=(Expression("left(name, 1)"),))
SUFFIX = (Change("name", "name || '-' || duplicate.number"),)
AMENDED = CleanupRule(exact="amend", divergent="amend", changes=SUFFIX, batch_size=2)
MERGED = CleanupRule(merges=(Merge("n", "sum"),), batch_size=2)
MANY = """DROP SCHEMA IF EXISTS dupe_audit CASCADE; DROP TABLE IF EXISTS t;
    CREATE TABLE t (id int PRIMARY KEY, name text, n int);
    INSERT INTO t SELECT i, 'a' || i % 3, 1 FROM generate_series(1, 12) i; INSERT INTO t VALUES (20, 'a1-2', 1)"""


@pytest.fixture
def rows(sql) -> Any:
    """Return every row of the table as PostgreSQL prints it."""
    return lambda: [row[0] for row in sql('SELECT t::text FROM t ORDER BY t::text COLLATE "C"')]


@pytest.fixture
def newest(sql) -> Any:
    """Return the number of the newest run; a killed attempt to open one uses up a number."""
    return lambda: sql("SELECT max(id) FROM dupe_audit.run")[0][0]


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("rule", [AMENDED, MERGED], ids=["amended", "merged"])
def test_killed_at_any_statement(rows, newest, sql, engine, psycopg_connect, rule, moment):
    """A cleanup whose backend dies at any statement continues to the same rows, and all of them return."""
    killer, expected, n = psycopg_connect(autocommit=True), None, 0
    while True:
        sql(MANY)
        before = rows()
        point = Kill(killer, moment, n)
        with armed(engine, point), suppress(SQLAlchemyError, DupeAuditError), engine.connect() as connection:
            list(cleanup(connection, NAME, rule))
        if n and not point.happened:
            break
        with engine.connect() as connection:
            list(cleanup(connection, NAME, rule))
            expected = expected or rows()
            assert rows() == expected, point
            assert sql("SELECT count(DISTINCT name), sum(n) FROM t")[0] == (len(expected), 13)
            sums = "SELECT sum(archived), sum(amended), sum(merged) FROM dupe_audit"
            assert sql(f"{sums}.batch") == sql(f"{sums}.run")
            list(restore(connection, newest(), batch_size=3))
        assert rows() == before, point
        n += STEP


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("rule", [AMENDED, MERGED], ids=["amended", "merged"])
@pytest.mark.representatives("merged-before")
def test_restore_killed_at_any_statement(rows, newest, sql, engine, psycopg_connect, rule, moment):
    """A restore whose backend dies at any statement continues, and every row is as it was."""
    killer, n = psycopg_connect(autocommit=True), 1
    while True:
        sql(MANY)
        before = rows()
        with engine.connect() as connection:
            list(cleanup(connection, NAME, rule))
        point = Kill(killer, moment, n)
        with armed(engine, point), suppress(SQLAlchemyError, DupeAuditError), engine.connect() as connection:
            list(restore(connection, newest(), batch_size=3))
        if not point.happened:
            break
        with engine.connect() as connection:
            list(restore(connection, newest(), batch_size=3))
        assert rows() == before, point
        n += STEP


def test_moved_to_another_database(rows, sql, conn, database_url, administrator, template, programs):
    """Amended and merged rows are changed back in a database that comes from a dump."""
    sql("""DROP SCHEMA IF EXISTS dupe_audit CASCADE; DROP TABLE IF EXISTS t;
        CREATE TABLE t (id int PRIMARY KEY, gap int, name text, n int); ALTER TABLE t DROP gap;
        INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 3), (4, 'b', 4)""")
    before = rows()
    list(cleanup(conn, NAME, AMENDED))
    list(cleanup(conn, LETTER, replace(MERGED, ignore=("name",))))
    assert sql("SELECT * FROM t ORDER BY id") == [(1, "a", 3), (3, "b", 7)]
    name = f"{make_url(database_url).database}_moved"
    administrator.copy(template, name)
    url = make_url(database_url).set(database=name).render_as_string(hide_password=False)
    try:
        copy(programs, database_url, url, CUSTOM)
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as moved:
            list(restore(moved, 2))
            list(restore(moved, 1))
            assert [row[0] for row in moved.exec_driver_sql("SELECT t::text FROM t ORDER BY 1")] == before
    finally:
        administrator.drop(name)
