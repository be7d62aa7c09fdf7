"""A tree on a server whose lock table is small, or nearly full."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from conftest import conninfo
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.embedded import Server
from dupe_audit.errors import DupeAuditError
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import blockers
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k", "r"), name="uq")
#: leaves, each with one extra; a backend has the locks of 16 relations in a place of its own
LEAVES = 100
TREE = f"""
CREATE TABLE t (id int, k int, r int) PARTITION BY RANGE (r);
DO $do$ BEGIN FOR i IN 1..{LEAVES} LOOP
    EXECUTE format('CREATE TABLE t_%s PARTITION OF t FOR VALUES FROM (%s) TO (%s)', i, i, i + 1);
END LOOP; END $do$;
INSERT INTO t SELECT n, 1, i FROM generate_series(1, {LEAVES}) AS i, generate_series(1, 2) AS n
"""
ROWS = "SELECT tableoid::regclass::text, t::text FROM t ORDER BY 1, 2"
#: entries of the lock table that are left free
FREE = 60


@pytest.fixture
def server(pg_bin) -> Iterator[Server]:
    """A server with a lock table for a few hundred locks."""
    settings = {"fsync": "off", "max_connections": "15", "max_locks_per_transaction": "10"}
    with Server.start(pg_bin, settings) as running:
        yield running


@pytest.fixture
def conn(server) -> Iterator[Connection]:
    """A connection in autocommit."""
    engine = create_engine(server.url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def fill(session: psycopg.Connection) -> None:
    """Take locks until the lock table has just a few entries left."""
    session.execute("BEGIN")
    taken = 0
    while True:
        session.execute(f"SAVEPOINT s{taken}")
        try:
            session.execute(f"SELECT pg_advisory_xact_lock({taken})")
        except errors.OutOfMemory:
            session.execute(f"ROLLBACK TO s{max(0, taken - FREE)}")
            return
        taken += 1


@pytest.mark.thorough
def test_tree_on_a_server_with_a_full_lock_table(server, conn):
    """The downgrade stops before anything, or succeeds: without locks, a drop drops nothing, a restore takes fewer."""
    sql = conn.exec_driver_sql
    conn.connection.driver_connection.execute(TREE)
    before = sql(ROWS).all()
    assert ["lock-table-too-small"] == [each.id for each in blockers(conn, KEY, CleanupRule())]
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    enforce(conn, KEY, BuildRule())
    with psycopg.connect(conninfo(server.url()), autocommit=True) as other:
        fill(other)
        with pytest.raises(DupeAuditError, match="Nothing was dropped"):
            drop(conn, KEY, BuildRule())
        assert [(True,)] == sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'uq'::regclass").all()
        other.execute("ROLLBACK")
        drop(conn, KEY, BuildRule())
        fill(other)
        assert LEAVES == sum(batch.restored for batch in restore(conn, 1))
    assert before == sql(ROWS).all()
