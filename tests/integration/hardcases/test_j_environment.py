"""Hard cases J: crashes, roles, simultaneous runs, and what messages and logs contain."""

import logging

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import locking
from dupe_audit.postgres.locking import LOCK_NAMESPACE
from dupe_audit.preflight import blockers, preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify

KEY = UniqueKey(table="t", columns=("k",), name="uq")

HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1s",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "3s",
    "search_path": "",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "row_security": "off",
    "synchronous_commit": "off",
    "extra_float_digits": "-15",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "work_mem": "64kB",
    "maintenance_work_mem": "1MB",
    "temp_buffers": "800kB",
    "enable_seqscan": "off",
    "jit": "off",
    "enable_nestloop": "off",
    "enable_tidscan": "off",
    "enable_sort": "off",
    "max_parallel_workers_per_gather": "4",
    "min_parallel_table_scan_size": "0",
    "parallel_setup_cost": "0",
    "parallel_tuple_cost": "0",
    "default_statistics_target": "1",
    "plan_cache_mode": "force_generic_plan",
    "constraint_exclusion": "on",
    "client_min_messages": "error",
}


@pytest.fixture
def hostile(server, database_url, sql):
    """A connection of a new role, which owns nothing yet and whose defaults are as bad as possible."""
    database = make_url(database_url).database
    name = database.replace("_test_", "_hostile_")
    sql(
        f"CREATE ROLE {name} LOGIN; GRANT CREATE ON DATABASE {database} TO {name}; GRANT ALL ON SCHEMA public TO {name}"
    )
    for setting, value in HOSTILE.items():
        sql(f"ALTER ROLE {name} SET {setting} = '{value}'")
    url = make_url(database_url).set(username=name)
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    sql(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


@pytest.mark.thorough
def test_h19_h37_h56_h73_role_with_hostile_defaults_goes_up_and_down(sql, hostile, dump):
    """A role with hostile defaults can clean, enforce, verify, drop and restore like any other."""
    name = hostile.exec_driver_sql("SELECT CURRENT_USER").scalar_one()
    sql("CREATE TABLE t (id int PRIMARY KEY, k text, f float8, i interval, v text[], at timestamptz)")
    sql(
        "INSERT INTO t SELECT i, md5((i / 2)::text), 0.1 + 0.2, '1 mon -25:00', '{NULL, null}', '2024-03-31 01:30+00' "
        "FROM generate_series(1, 3001) AS i"
    )
    sql("CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.1); RETURN NULL; END'")
    sql("CREATE TRIGGER nap AFTER DELETE OR INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION nap()")
    sql(f"ALTER TABLE t OWNER TO {name}")
    before, key = dump("t"), UniqueKey(schema="public", table="t", columns=("k",), name="uq")
    assert [] == blockers(hostile, key, CleanupRule(), accept=("delete-trigger",))
    assert 1500 == sum(batch.archived for batch in cleanup(hostile, key, CleanupRule(batch_size=800)))
    enforce(hostile, key, BuildRule())
    assert [] == [f.id for f in verify(hostile, key).findings if f.severity == "error"]
    drop(hostile, key, BuildRule())
    list(restore(hostile, 1, batch_size=800))
    assert before == dump("t")


@pytest.mark.torture
def test_h192_crash_loses_a_batch_and_its_archive_together(server, connect, psycopg_connect):
    """With synchronous_commit off, a crash can lose the last batches, but never half of one."""
    before = psycopg_connect(autocommit=True)
    before.execute("CREATE TABLE t (id int PRIMARY KEY, k int)")
    before.execute("INSERT INTO t SELECT i, 7 FROM generate_series(1, 60) AS i")
    batches = cleanup(connect(synchronous_commit="off"), KEY, CleanupRule(batch_size=1))
    for _ in range(20):
        next(batches)
    server.crash()
    with pytest.raises(DBAPIError):
        list(batches)
    server.resume()

    after = psycopg_connect(autocommit=True)
    held = "SELECT id FROM t UNION ALL SELECT id FROM dupe_audit.archive_1 ORDER BY id"
    assert [(i,) for i in range(1, 61)] == after.execute(held).fetchall()
    list(cleanup(connect(), KEY, CleanupRule()))
    assert [(i,) for i in range(1, 61)] == after.execute(held).fetchall()
    assert [(1,)] == after.execute("SELECT id FROM t").fetchall()
    assert [(59,)] == after.execute("SELECT archived FROM dupe_audit.run").fetchall()


#: sessions that have tried to get the lock of the ledger, and ask who holds it
WAITING = "SELECT 1 FROM pg_stat_activity WHERE query ~ 'objid = 0::pg_catalog.oid' AND pid <> pg_backend_pid()"


def test_h197_two_first_runs_create_one_ledger(sql, conn, connect, just_before, wait_until, beside):
    """Two first runs that start at once create the ledger only once, and both succeed."""
    for table in ("t", "u"):
        sql(f"CREATE TABLE {table} (id int PRIMARY KEY, k int); INSERT INTO {table} VALUES (1, 7), (2, 7)")
    other = connect(application_name="second")

    def second():
        list(cleanup(other, UniqueKey(table="u", columns=("k",)), CleanupRule()))

    def begin():
        beside(second)
        wait_until(lambda: sql(f"{WAITING} AND application_name = 'second'"))

    just_before("CREATE TABLE IF NOT EXISTS dupe_audit.batch", begin)
    list(cleanup(conn, KEY, CleanupRule()))
    wait_until(lambda: [("clean",), ("clean",)] == sql("SELECT state FROM dupe_audit.run"))


def test_h197_wait_for_the_ledger_stops_no_concurrent_build(sql, conn, psycopg_connect, wait_until, beside):
    """A first run that waits until another session has created the ledger holds no snapshot that a build waits for."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); CREATE TABLE u (k int)")
    creator, builder = psycopg_connect(autocommit=True), psycopg_connect(autocommit=True)
    creator.execute(f"SELECT pg_advisory_lock({LOCK_NAMESPACE}, 0)")
    beside(lambda: list(cleanup(conn, KEY, CleanupRule())))
    wait_until(lambda: sql(WAITING))
    builder.execute("SET statement_timeout = '8s'")
    builder.execute("CREATE INDEX CONCURRENTLY ON u (k)")
    creator.close()
    wait_until(lambda: sql("SELECT 1 FROM pg_class WHERE oid = to_regclass('dupe_audit.leaf')"))
    wait_until(lambda: [("clean",)] == sql("SELECT state FROM dupe_audit.run"))


def test_h197_wait_for_the_ledger_ends_with_the_session_that_holds_it(sql, conn, psycopg_connect, monkeypatch):
    """If another session does not finish the ledger in time, the run ends, and names that session; nothing changed."""
    monkeypatch.setattr(locking, "LEDGER_LOCK_TIMEOUT", "200ms")
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    creator = psycopg_connect(autocommit=True)
    creator.execute(f"SELECT pg_advisory_lock({LOCK_NAMESPACE}, 0)")
    named = (
        rf"Another session \(pid {creator.info.backend_pid}\) was creating the ledger and did not finish within 200ms"
    )
    with pytest.raises(Blocked, match=named):
        list(cleanup(conn, KEY, CleanupRule()))
    assert [(None,)] == sql("SELECT to_regnamespace('dupe_audit')::text")


@pytest.mark.parametrize("me", ["superuser", "owner"])
def test_h199_schema_prepared_by_another_role_is_refused(sql, conn, connect, member, me):
    """A schema dupe_audit that another role created is refused as the ledger, even for a superuser."""
    stranger = f"{member}_stranger"
    sql(f"CREATE ROLE {stranger}; CREATE SCHEMA dupe_audit AUTHORIZATION {stranger}")
    try:
        sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
        if me == "owner":
            sql(f"ALTER TABLE t OWNER TO {member}; GRANT ALL ON SCHEMA dupe_audit TO {member}")
        connection = conn if me == "superuser" else connect(role=member)
        assert "untrusted-ledger" in [f.id for f in blockers(connection, KEY, CleanupRule())]
    finally:
        sql(f"DROP OWNED BY {stranger} CASCADE; DROP ROLE {stranger}")


CARD = "4111-1111-1111-1111"


def test_h200_key_values_are_in_no_message_and_no_log(sql, conn, caplog, psycopg_connect):
    """No error and no log line of any step contains a value of a key or of a row."""
    caplog.set_level(logging.DEBUG, logger="alembic.dupe_audit")
    sql("CREATE TABLE t (id int PRIMARY KEY, k text, v text)")
    sql(f"INSERT INTO t VALUES (1, '{CARD}', '{CARD}-1'), (2, '{CARD}', '{CARD}-2')")
    texts = [repr(preflight(conn, KEY))]
    with pytest.raises(Refused) as divergent:
        list(cleanup(conn, KEY, CleanupRule()))
    with pytest.raises(Refused) as duplicate:
        enforce(conn, KEY, BuildRule())
    other = psycopg_connect()
    other.execute("UPDATE t SET v = %s WHERE id = 2", (CARD,))
    with pytest.raises(Blocked) as blocked:
        list(cleanup(conn, KEY, CleanupRule(divergent="archive"), give_up_after="500ms"))
    other.rollback()
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    sql(f"ALTER TABLE t ADD UNIQUE (v); INSERT INTO t VALUES (3, 'x', '{CARD}-2')")
    with pytest.raises(Refused) as restored:
        list(restore(conn, 1))
    texts += [str(error.value) for error in (divergent, duplicate, blocked, restored)]
    texts += [row[0] or "" for row in sql("SELECT dupe_audit_problem FROM dupe_audit.archive_1")]
    assert "alembic.dupe_audit" in {record.name for record in caplog.records}
    assert CARD not in caplog.text + " ".join(texts)
