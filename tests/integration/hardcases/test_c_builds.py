"""Hard cases C: the concurrent build, what disturbs it, and what it leaves behind."""

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from dupe_audit import statements
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import blockers, preflight
from waiting import PATIENCE

KEY = UniqueKey(table="t", columns=("k",), name="uq")
PHASE = "SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase LIKE '{}%'"
STATE = "SELECT indisready, indisvalid FROM pg_index WHERE indexrelid = to_regclass('uq')"


@pytest.fixture
def table(sql):
    """A table of five keys without duplicates."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int)")
    sql("INSERT INTO t SELECT i, i, i FROM generate_series(1, 5) AS i")


def old_snapshot(psycopg_connect):
    """Open a transaction whose snapshot every build in the database waits for."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    return old


def test_h47_h51_duplicates_in_each_phase_of_a_build(sql, conn, table, psycopg_connect, wait_until, beside):
    """A ready index rejects writes of existing keys; a duplicate that only the validation finds is cleaned too."""
    first, second, application = psycopg_connect(), psycopg_connect(), psycopg_connect(autocommit=True)
    first.execute("INSERT INTO t VALUES (6, 6)")
    heard = []

    def interfere():
        wait_until(lambda: sql(PHASE.format("waiting for writers before build")))
        application.execute("INSERT INTO t VALUES (7, 1)")
        application.execute("DELETE FROM t WHERE id = 7")
        second.execute("INSERT INTO t VALUES (8, 8)")
        first.commit()
        wait_until(lambda: sql(PHASE.format("waiting for writers before validation")))
        with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
            application.execute("INSERT INTO t VALUES (9, 1)")
        heard.append(refusal.value.diag.constraint_name)
        second.execute("INSERT INTO t VALUES (10, 8)")
        second.commit()

    thread = beside(interfere)
    rule, cleaned = CleanupRule(divergent="archive"), []

    def clean_again():
        cleaned.append(sum(batch.archived for batch in cleanup(conn, KEY, rule)))
        return cleaned[-1]

    enforce(conn, KEY, BuildRule(), clean_again=clean_again)
    thread.join()

    assert ["uq"] == heard
    assert [1] == cleaned
    assert [(8,)] == sql("SELECT id FROM t WHERE k = 8")
    assert [(True, True)] == sql(STATE)


def test_h48_downgrade_drops_a_leftover_index_that_rejects_writes(
    sql, conn, table, client, psycopg_connect, wait_until
):
    """The ready but invalid index of a killed build rejects duplicates until the downgrade drops it."""
    old = old_snapshot(psycopg_connect)
    process = client("enforce(conn, UniqueKey(table='t', columns=('k',), name='uq'), BuildRule())")
    waiting = PHASE.format("waiting for old snapshots")
    wait_until(lambda: sql(waiting))
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index WHERE datname = current_database()")
    process.communicate(timeout=PATIENCE)
    assert [(True, False)] == sql(STATE)
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("INSERT INTO t VALUES (6, 1)")

    old.rollback()
    drop(conn, KEY, BuildRule())
    sql("INSERT INTO t VALUES (6, 1)")
    assert [] == sql(STATE)


def test_h54_running_build_is_waited_for_and_named(sql, conn, connect, table, psycopg_connect, wait_until, beside):
    """If a build is still running, a second upgrade neither builds nor drops its index, and names the pid."""
    old = old_snapshot(psycopg_connect)
    orphan = connect()
    pid = orphan.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    beside(lambda: enforce(orphan, KEY, BuildRule()))
    waiting = PHASE.format("waiting for old snapshots")
    wait_until(lambda: sql(waiting))
    for again in (enforce, drop):
        with pytest.raises(Blocked, match=rf"pid {pid}\b"):
            again(conn, KEY, BuildRule(give_up_after="300ms"))
    assert [(True, False)] == sql(STATE)
    old.rollback()
    enforce(conn, KEY, BuildRule())
    assert [(True, True)] == sql(STATE)


TIGHT = {
    "temp_file_limit": "64kB",
    "maintenance_work_mem": "1MB",
    "work_mem": "64kB",
    "max_parallel_maintenance_workers": "0",
}


def test_h61_build_without_space_leaves_no_index(sql, conn, connect):
    """A build whose sort runs out of space reports the reason and leaves no index; with more space it succeeds."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text)")
    sql("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 40000) AS i")
    with pytest.raises(DBAPIError, match="temp_file_limit"):
        enforce(connect(**TIGHT), KEY, BuildRule())
    assert [] == sql(STATE)
    enforce(conn, KEY, BuildRule())
    assert [(True, True)] == sql(STATE)


def test_h61_ranking_without_space_archives_nothing(sql, conn, connect, live):
    """A ranking whose sort runs out of space ends before the first row is deleted; with more space it continues."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text)")
    sql("INSERT INTO t SELECT i, md5((i / 2)::text) FROM generate_series(1, 20000) AS i")
    with pytest.raises(DBAPIError, match="temp_file_limit"):
        list(cleanup(connect(**TIGHT), KEY, CleanupRule()))
    assert 20000 == len(live())
    list(cleanup(conn, KEY, CleanupRule()))
    assert [(10001, 9999)] == sql("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM dupe_audit.archive_1)")


PLAIN = "INSERT INTO t (id, k) VALUES ({}, 1) ON CONFLICT DO NOTHING"
NAMED = "INSERT INTO t (id, k) VALUES ({}, 1) ON CONFLICT (k) DO NOTHING"


def test_h65_h90_h139_on_conflict_without_a_target_never_fails(sql, conn, table, psycopg_connect, wait_until, beside):
    """ON CONFLICT DO NOTHING works in every phase; with columns as its target it needs the finished constraint."""
    writer, old = psycopg_connect(autocommit=True), old_snapshot(psycopg_connect)

    def write(statement, id_):
        try:
            return writer.execute(statement.format(id_).encode()).rowcount
        except psycopg.Error as error:
            return error.sqlstate

    def interfere():
        wait_until(lambda: sql(PHASE.format("waiting for old snapshots")))
        results["during"] = write(PLAIN, 6), write(NAMED, 7)
        old.rollback()

    results = {"before": (write(PLAIN, 6), write(NAMED, 7))}
    sql("DELETE FROM t WHERE id = 6")
    thread = beside(interfere)
    enforce(conn, KEY, BuildRule())
    thread.join()
    results["enforced"] = write(PLAIN, 6), write(NAMED, 7)
    drop(conn, KEY, BuildRule())
    results["dropped"] = write(PLAIN, 6), write(NAMED, 7)

    assert {"before": (1, "42P10"), "during": (0, "42P10"), "enforced": (0, 0), "dropped": (1, "42P10")} == results


def test_h65_second_index_on_the_key_is_refused(sql, conn, table):
    """A second unique index on the key, during whose build upserts fail at random, is refused."""
    sql("CREATE UNIQUE INDEX other ON t (k)")
    assert ["equivalent-index"] == [f.id for f in blockers(conn, KEY, CleanupRule())]


def test_h64_leftover_of_a_failed_reindex_is_reported(sql, conn, table):
    """An index that REINDEX CONCURRENTLY left invalid is reported, with the statement that drops it."""
    sql("CREATE UNIQUE INDEX other ON t (k)")
    sql("CREATE UNIQUE INDEX other_ccnew ON t (k)")
    sql("UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'other_ccnew'::regclass")
    (finding,) = [f for f in preflight(conn, KEY).findings if f.id == "invalid-index"]
    assert "DROP INDEX CONCURRENTLY other_ccnew" in finding.help


@pytest.mark.thorough
def test_h68_vacuum_that_does_not_yield_is_named(sql, conn, table, psycopg_connect):
    """A session that locks the table as a vacuum does delays the build up to give_up_after, and is named."""
    vacuum = psycopg_connect()
    vacuum.execute("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
    with pytest.raises(Blocked, match=rf"pid {vacuum.info.backend_pid}\b"):
        enforce(conn, KEY, BuildRule(give_up_after="300ms"))
    assert [] == sql(STATE)
    vacuum.rollback()
    enforce(conn, KEY, BuildRule())


def test_h57_transaction_that_the_build_would_wait_for_is_reported(sql, conn, table, psycopg_connect, monkeypatch):
    """An open transaction with an old snapshot, or that has written to the table, is a warning with its pid."""
    template = statements.template
    soon = template("blockers").replace("interval '30 seconds'", "interval '0 seconds'")
    assert soon != template("blockers")
    monkeypatch.setattr(statements, "template", lambda name: soon if name == "blockers" else template(name))
    old, writer, reader = old_snapshot(psycopg_connect), psycopg_connect(), psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")
    reader.execute("SELECT FROM t")
    messages = [f.message for f in preflight(conn, KEY).findings if f.id == "long-transaction"]

    assert 2 == len(messages)
    for other in (old, writer):
        assert f"pid {other.info.backend_pid}," in "".join(messages)


def test_h43_changed_collation_is_reported(sql, conn):
    """A collation of the key whose version has changed under its indexes is a warning."""
    try:
        sql("CREATE COLLATION old (provider = icu, locale = 'und', version = '0.1')")
    except psycopg.Error:
        try:
            sql("CREATE COLLATION old (provider = builtin, locale = 'C.UTF-8', version = '0.1')")
        except psycopg.Error:
            pytest.skip("the server has no collation with a version")
    sql("CREATE TABLE t (id int PRIMARY KEY, k text COLLATE old)")
    (finding,) = [f for f in preflight(conn, KEY).findings if f.id == "collation-version"]
    assert ("warning", True) == (finding.severity, "Collation old" in finding.message)
