"""Hard case H194 on Aurora: readers lag, and another function reports it, here made by hand on PostgreSQL."""

from sqlalchemy import Connection

from dupe_audit import UniqueKey
from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule
from dupe_audit.postgres.replication import replica_lag

KEY = UniqueKey(table="t", columns=("k",))
TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT n, 7 FROM generate_series(1, 9) AS n"

#: with the columns that AWS documents; the writer's row says nothing of a lag
AURORA = """
CREATE TABLE cluster (server_id text, session_id text, replica_lag_in_msec float8, last_update_timestamp timestamptz);
CREATE FUNCTION pg_catalog.aurora_replica_status(OUT server_id text, OUT session_id text,
    OUT replica_lag_in_msec double precision, OUT last_update_timestamp timestamptz)
    RETURNS SETOF record LANGUAGE sql AS 'SELECT * FROM public.cluster';
INSERT INTO cluster VALUES ('writer', 'MASTER_SESSION_ID', 900000, now())
"""


def test_h194_lag_on_aurora_is_that_of_its_slowest_reader(sql, conn):
    """On Aurora the readers' lag counts: not the writer's row, and no reader that stopped reporting."""
    assert replica_lag(conn) is None
    sql(AURORA)
    assert replica_lag(conn) is None
    sql("INSERT INTO cluster VALUES ('a', 'f0f1', 20, now()), ('b', 'f0f2', 1500, NULL)")
    assert 1.5 == replica_lag(conn)
    sql("INSERT INTO cluster VALUES ('gone', 'f0f3', 60000, now() - interval '6 minutes')")
    assert 1.5 == replica_lag(conn)


def test_h194_batches_wait_for_a_reader_of_aurora(sql, connect, beside, wait_until, caplog):
    """While a reader lags more than max_replica_lag, no batch starts; once it has caught up, they continue."""
    caplog.set_level("INFO", logger="alembic.dupe_audit")
    sql(f"{TABLE}; {AURORA}; INSERT INTO cluster VALUES ('a', 'f0f1', 5000, now())")
    worker: Connection = connect()
    thread = beside(lambda: list(cleanup(worker, KEY, CleanupRule(max_replica_lag=0.5))))
    wait_until(lambda: "5.0 s behind (limit 0.5 s)" in caplog.text)
    assert [(9,)] == sql("SELECT count(*) FROM t")
    sql("UPDATE cluster SET replica_lag_in_msec = 20 WHERE server_id = 'a'")
    thread.join()
    assert [(1,)] == sql("SELECT count(*) FROM t")
