"""The constraint is built beside the application's traffic, adopted, dropped; no unfinished index stays behind."""

import signal
import threading
import time
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked, DupeAuditError, DuplicatesKeepComing, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey

KEY = UniqueKey(table="t", columns=("k",), name="uq")
QUICK = BuildRule(lock_timeout="50ms", give_up_after="2s")


@pytest.fixture
def table(sql):
    """A table of five keys without duplicates."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int)")
    sql("INSERT INTO t SELECT i, i, i FROM generate_series(1, 5) AS i")


def constraint(sql):
    """Return the definition of the constraint, or None."""
    rows = sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'uq'")
    return rows[0][0] if rows else None


def indexes(sql):
    """Return the table's indexes but its primary key's, with their validity."""
    return sql(
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass "
        "AND NOT indisprimary ORDER BY 1"
    )


def invalid_index(sql, name="uq", columns="k"):
    """Leave an invalid index behind, as a build that met a duplicate does."""
    sql("INSERT INTO t VALUES (99, 1, 1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON t ({columns})")
    sql("DELETE FROM t WHERE id = 99")
    assert (name, False) in indexes(sql)


# Making it


def test_constraint_is_made(sql, conn, table):
    """The key is a constraint with a valid index of its name and a comment, and the ledger knows whose it is."""
    enforce(conn, KEY, BuildRule(comment="one k's row"))
    assert constraint(sql) == "UNIQUE (k)"
    assert indexes(sql) == [("uq", True)]
    assert sql("SELECT obj_description(oid) FROM pg_constraint WHERE conname = 'uq'") == [("one k's row",)]
    assert sql("SELECT constraint_name, keep FROM dupe_audit.run") == [("uq", None)]
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("INSERT INTO t VALUES (6, 5)")


def test_making_it_twice_is_making_it_once(sql, conn, table):
    """A second call finds the constraint and builds nothing."""
    enforce(conn, KEY, BuildRule())
    oid = sql("SELECT 'uq'::regclass::oid")
    enforce(conn, KEY, BuildRule())
    assert oid == sql("SELECT 'uq'::regclass::oid")
    assert sql("SELECT count(*) FROM dupe_audit.run") == [(1,)]


@pytest.mark.parametrize(
    ("form", "definition"),
    [
        ({"include": ("v",)}, "UNIQUE (k) INCLUDE (v)"),
        ({"columns": ("v", "k")}, "UNIQUE (v, k)"),
        ({"deferrable": True}, "UNIQUE (k) DEFERRABLE"),
        ({"deferrable": True, "initially": "DEFERRED"}, "UNIQUE (k) DEFERRABLE INITIALLY DEFERRED"),
        pytest.param({"nulls_not_distinct": True}, "UNIQUE NULLS NOT DISTINCT (k)", marks=pytest.mark.min_pg(15)),
    ],
    ids=["include", "two columns", "deferrable", "deferred", "nulls not distinct"],
)
def test_every_form_is_made_and_recognised(sql, conn, table, form, definition):
    """The constraint has the form that was asked for, and asking again finds it."""
    key = UniqueKey(**({"table": "t", "columns": ("k",), "name": "uq"} | form))
    enforce(conn, key, BuildRule())
    assert definition == constraint(sql)
    oid = sql("SELECT 'uq'::regclass::oid")
    enforce(conn, key, BuildRule())
    assert oid == sql("SELECT 'uq'::regclass::oid")
    drop(conn, key, BuildRule())
    assert (constraint(sql), indexes(sql)) == (None, [])


def test_finished_index_of_same_definition_is_adopted(sql, conn, table):
    """A valid index of the right name and definition is attached, not built a second time."""
    sql("CREATE UNIQUE INDEX uq ON t (k)")
    oid = sql("SELECT 'uq'::regclass::oid")
    enforce(conn, KEY, BuildRule())
    assert oid == sql("SELECT 'uq'::regclass::oid")
    assert constraint(sql) == "UNIQUE (k)"


@pytest.mark.parametrize(
    "other",
    [
        "CREATE UNIQUE INDEX uq ON t (v)",
        "CREATE UNIQUE INDEX uq ON t (k, v)",
        "CREATE UNIQUE INDEX uq ON t (k DESC)",
        "CREATE UNIQUE INDEX uq ON t (k) INCLUDE (v)",
        "CREATE UNIQUE INDEX uq ON t (k) WHERE k > 0",
        "CREATE UNIQUE INDEX uq ON t ((k + 0))",
        "CREATE INDEX uq ON t (k)",
        "CREATE INDEX uq ON t USING hash (k)",
        "ALTER TABLE t ADD CONSTRAINT uq UNIQUE (v)",
        "ALTER TABLE t ADD CONSTRAINT uq UNIQUE (k) DEFERRABLE",
        "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD CONSTRAINT uq PRIMARY KEY (k)",
        "CREATE TABLE u (k int); CREATE UNIQUE INDEX uq ON u (k)",
        "CREATE TABLE uq (k int)",
        "CREATE VIEW uq AS SELECT 1",
        "CREATE SEQUENCE uq",
        pytest.param("CREATE UNIQUE INDEX uq ON t (k) NULLS NOT DISTINCT", marks=pytest.mark.min_pg(15)),
    ],
)
def test_name_that_stands_for_something_else_h49_h52(sql, conn, table, other):
    """What only has the name is neither adopted nor dropped."""
    sql(other)
    ask = "SELECT 'uq'::regclass::oid"
    before = sql(ask)
    with pytest.raises(Refused, match="wrong-definition"):
        enforce(conn, KEY, QUICK)
    assert before == sql(ask)


def test_own_invalid_index_is_built_again(sql, conn, table):
    """An invalid index that a build of ours left behind is dropped and built again."""
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    ledger.mark_building(conn, 1, "uq")
    invalid_index(sql)
    enforce(conn, KEY, BuildRule())
    assert indexes(sql) == [("uq", True)]
    assert constraint(sql) == "UNIQUE (k)"


def test_foreign_invalid_index_is_not_touched_h49_h52(sql, conn, table):
    """An invalid index of which the ledger knows nothing may be somebody else's."""
    invalid_index(sql)
    with pytest.raises(Refused, match="invalid-index"):
        enforce(conn, KEY, QUICK)
    assert indexes(sql) == [("uq", False)]


@pytest.mark.parametrize("kind", ["partial", "other columns"])
def test_invalid_index_of_other_definition_is_not_touched(sql, conn, table, kind):
    """Even with a build of ours in the ledger, an invalid index of another definition is not ours."""
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    ledger.mark_building(conn, 1, "uq")
    invalid_index(sql, columns="v" if kind == "other columns" else "k) WHERE (k < 50")
    with pytest.raises(Refused, match="wrong-definition"):
        enforce(conn, KEY, QUICK)
    assert indexes(sql) == [("uq", False)]


# Duplicates that keep coming


def test_duplicate_without_a_cleanup_is_refused(sql, conn, table):
    """Where nobody said what to do with duplicates, the build's failure says so and leaves no index."""
    sql("INSERT INTO t VALUES (6, 5)")
    with pytest.raises(Refused, match="duplicate"):
        enforce(conn, KEY, QUICK)
    assert (constraint(sql), indexes(sql)) == (None, [])


def test_duplicates_that_arrive_are_cleaned_under_the_same_run(sql, conn, table):
    """A duplicate that arrives before the build is cleaned, and the build is tried again, until it holds."""
    rule = CleanupRule(divergent="archive")
    list(cleanup(conn, KEY, rule))
    sql("INSERT INTO t VALUES (6, 5)")
    rounds = []

    def clean_again():
        moved = sum(batch.archived for batch in cleanup(conn, KEY, rule))
        if not rounds:
            sql("INSERT INTO t VALUES (7, 5)")
        rounds.append(moved)
        return moved

    enforce(conn, KEY, QUICK, clean_again=clean_again)
    assert rounds == [1, 1]
    assert constraint(sql) == "UNIQUE (k)"
    assert sql("SELECT id, archived FROM dupe_audit.run") == [(1, 2)]


def test_endless_duplicates_end_in_an_error_h67(sql, conn, table):
    """After the agreed number of builds the error says what to do, and the table is as it was."""
    sql("INSERT INTO t VALUES (6, 5)")
    with pytest.raises(DuplicatesKeepComing, match=r"3 builds.*8 more arrived.*ON CONFLICT"):
        enforce(conn, KEY, BuildRule(build_attempts=3), clean_again=lambda: 4)
    assert (constraint(sql), indexes(sql)) == (None, [])


def test_duplicate_that_arrives_during_the_build_h47(sql, conn, table, psycopg_connect, wait_until):
    """A duplicate that comes in while the build waits for writers fails it, and is cleaned like any other."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")

    def interfere():
        wait_until(lambda: sql("SELECT 1 FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for writers%'"))
        writer.execute("INSERT INTO t VALUES (7, 6)")
        writer.commit()

    thread = threading.Thread(target=interfere)
    thread.start()
    rule = CleanupRule(divergent="archive")
    enforce(conn, KEY, QUICK, clean_again=lambda: sum(b.archived for b in cleanup(conn, KEY, rule)))
    thread.join()
    assert constraint(sql) == "UNIQUE (k)"
    assert sql("SELECT id FROM t WHERE k = 6") == [(6,)]


def test_other_failures_leave_no_index(sql, conn, table):
    """A build that fails for another reason than a duplicate leaves nothing behind either (H40)."""
    sql("ALTER TABLE t ADD COLUMN w text")
    sql("UPDATE t SET w = (SELECT string_agg(md5(i::text || id::text), '') FROM generate_series(1, 400) AS i)")
    with pytest.raises(Exception, match="index row"):
        enforce(conn, UniqueKey(table="t", columns=("w",), name="uq"), QUICK)
    assert indexes(sql) == []


# Locks of others


def test_attach_gives_way_and_names_who_is_in_the_way_h75(sql, conn, table, psycopg_connect):
    """An open reader keeps the constraint away; others wait for no longer than the lock timeout."""
    sql("CREATE UNIQUE INDEX uq ON t (k)")
    reader, other = psycopg_connect(), psycopg_connect(autocommit=True)
    reader.execute("SELECT count(*) FROM t")
    waits, stop = [], threading.Event()

    def application():
        while not stop.is_set():
            started = time.monotonic()
            other.execute("SELECT count(*) FROM t")
            waits.append(time.monotonic() - started)
            time.sleep(0.005)

    thread = threading.Thread(target=application)
    thread.start()
    try:
        with pytest.raises(Blocked, match=rf"attach .*pid {reader.info.backend_pid}"):
            enforce(conn, KEY, BuildRule(lock_timeout="100ms", give_up_after="2s"))
    finally:
        stop.set()
        thread.join()
    assert max(waits) < 0.1 + 0.4  # the timeout, and what a busy machine adds
    assert constraint(sql) is None

    reader.rollback()
    enforce(conn, KEY, QUICK)
    assert constraint(sql) == "UNIQUE (k)"


def test_build_held_up_by_an_old_snapshot_is_cancelled_h57(sql, conn, table, psycopg_connect):
    """A build that waits too long for one transaction is cancelled, names it, and leaves no index."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    with pytest.raises(Blocked, match=rf"pid {old.info.backend_pid}"):
        enforce(conn, KEY, BuildRule(give_up_after="1s"))
    assert (constraint(sql), indexes(sql)) == (None, [])
    old.rollback()
    enforce(conn, KEY, QUICK)
    assert constraint(sql) == "UNIQUE (k)"


def test_build_held_up_by_an_open_writer_is_cancelled(sql, conn, table, psycopg_connect, wait_until):
    """An open writer holds the build up before it begins; the error names it, and the index goes as the writer ends."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")

    def end_after_the_build():
        wait_until(lambda: sql(WAITING))
        wait_until(lambda: not sql(WAITING))
        writer.rollback()

    thread = threading.Thread(target=end_after_the_build)
    thread.start()
    with pytest.raises(Blocked, match=rf"pid {writer.info.backend_pid}"):
        enforce(conn, KEY, BuildRule(give_up_after="1s"))
    thread.join()
    assert indexes(sql) == []


def test_give_up_after_is_the_whole_wait(sql, conn, table, psycopg_connect):
    """A writer that never ends is waited for no longer than was asked for, the removal of the index included."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")
    signal.alarm(10)
    with pytest.raises(Blocked, match=rf"pid {writer.info.backend_pid}"):
        enforce(conn, KEY, BuildRule(give_up_after="1s"))
    assert sql("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('uq') AND indisready") == []


def test_prepared_transaction_that_holds_up_the_build_h58(sql, conn, table, connect):
    """A prepared transaction has no backend, and the error says that it is one."""
    if sql("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("the server has no prepared transactions")
    sql("BEGIN; INSERT INTO t VALUES (6, 6); PREPARE TRANSACTION 'forgotten'")
    signal.alarm(10)
    try:
        with pytest.raises(Blocked, match="prepared transaction"):
            enforce(conn, KEY, BuildRule(give_up_after="1s"))
    finally:
        sql("ROLLBACK PREPARED 'forgotten'")
    # It holds up the removal of the unfinished index too; the next run begins with that.
    enforce(conn, KEY, BuildRule())
    assert indexes(sql) == [("uq", True)]


def test_settings_of_the_session_are_as_before_h73(sql, conn, table, psycopg_connect):
    """Timeouts that the build needs are put back, whether it succeeds or not."""
    ask = (
        "SELECT name, setting FROM pg_settings WHERE name ~ 'timeout|check_interval|maintenance|row_sec' ORDER BY name"
    )
    conn.exec_driver_sql("SET lock_timeout = '7s'; SET statement_timeout = '8s'")
    before = conn.exec_driver_sql(ask).all()
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    rule = BuildRule(give_up_after="1s", maintenance_work_mem="2MB", max_parallel_maintenance_workers="0")
    with pytest.raises(Blocked):
        enforce(conn, KEY, rule)
    assert before == conn.exec_driver_sql(ask).all()
    old.rollback()
    enforce(conn, KEY, rule)
    drop(conn, KEY, rule)
    assert before == conn.exec_driver_sql(ask).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"statement_timeout": "30ms"},
        {"lock_timeout": "1ms"},
        {"default_transaction_isolation": "serializable"},
        {"search_path": ""},
        {"idle_in_transaction_session_timeout": "500ms"},
        {"maintenance_work_mem": "1MB"},
    ],
    ids=lambda settings: "=".join(*settings.items()),
)
def test_defaults_of_the_role_change_nothing_h56(sql, connect, table, settings):
    """What a role, a database or a URL sets does not change the outcome."""
    key = UniqueKey(schema="public", table="t", columns=("k",), name="uq")
    connection = connect(**settings)
    enforce(connection, key, QUICK)
    assert constraint(sql) == "UNIQUE (k)"
    drop(connection, key, QUICK)
    assert constraint(sql) is None


# Clients that die


BUILD = "enforce(conn, UniqueKey(table='t', columns=('k',), name='uq'), BuildRule(give_up_after='1min'))"
WAITING = "SELECT pid FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%' AND datname = current_database()"


@pytest.mark.torture
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_no_index_h48(sql, table, client, psycopg_connect, wait_until, signal_number):
    """Ctrl-C in the middle of a build removes the index before the client ends."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    process = client(BUILD)
    wait_until(lambda: sql(WAITING))
    assert indexes(sql) == [("uq", False)]
    process.send_signal(signal_number)
    # Dropping an index concurrently waits for those who may still use it, but not for a mere snapshot's end.
    stderr = process.communicate(timeout=60)[1]
    assert "Interrupted" in stderr
    old.rollback()
    assert indexes(sql) == []


@pytest.mark.torture
def test_killed_client_is_continued_h53_h71(sql, conn, table, client, psycopg_connect, wait_until):
    """A client that is killed in the middle of a build leaves what the next call sorts out."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    process = client(BUILD)
    wait_until(lambda: sql(WAITING))
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not sql(WAITING))  # its backend looks after its client every second
    assert indexes(sql) == [("uq", False)]
    old.rollback()
    enforce(conn, KEY, BuildRule(give_up_after="20s"))
    assert constraint(sql) == "UNIQUE (k)"
    assert indexes(sql) == [("uq", True)]


@pytest.mark.torture
def test_terminated_backend_is_continued(sql, conn, table, client, psycopg_connect, wait_until):
    """A backend that is terminated in the middle of a build leaves what the next call sorts out."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")
    process = client(BUILD)
    wait_until(lambda: sql(WAITING))
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")
    process.communicate(timeout=60)
    writer.rollback()
    enforce(conn, KEY, BuildRule(give_up_after="20s"))
    assert indexes(sql) == [("uq", True)]


def test_lost_connection_is_the_error_that_is_told(sql, connect, table, psycopg_connect, wait_until):
    """When the backend is terminated during a build, the caller hears that, and not what came of it."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")

    def terminate():
        wait_until(lambda: sql(WAITING))
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")

    thread = threading.Thread(target=terminate)
    thread.start()
    with pytest.raises(DBAPIError, match="terminating connection"):
        enforce(connect(), KEY, QUICK)
    thread.join()


def test_build_of_somebody_else_is_waited_for_h55(sql, conn, table, psycopg_connect, wait_until):
    """Two concurrent builds on one table would deadlock, so a live one is waited for, or named."""
    writer, builder = psycopg_connect(), psycopg_connect(autocommit=True)
    writer.execute("INSERT INTO t VALUES (6, 6)")
    thread = threading.Thread(target=lambda: builder.execute("CREATE INDEX CONCURRENTLY other ON t (v)"))
    thread.start()
    try:
        wait_until(lambda: sql(WAITING))
        with pytest.raises(Refused, match=rf"live-build.*{builder.info.backend_pid}"):
            enforce(conn, KEY, BuildRule(give_up_after="600ms"))
    finally:
        writer.rollback()
        thread.join()
    enforce(conn, KEY, QUICK)
    assert indexes(sql) == [("other", True), ("uq", True)]


# Dropping it


def test_dropping_nothing_is_no_error(sql, conn, table):
    """A constraint that is not there is not dropped, as often as one likes."""
    drop(conn, KEY, BuildRule())
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    assert (constraint(sql), indexes(sql)) == (None, [])
    assert sql("SELECT state FROM dupe_audit.run") == [("dropped",)]


def test_half_built_index_is_dropped(sql, conn, table):
    """What a killed upgrade left of its index goes with the downgrade."""
    list(cleanup(conn, KEY, CleanupRule()))
    ledger.mark_building(conn, 1, "uq")
    invalid_index(sql)
    drop(conn, KEY, BuildRule())
    assert indexes(sql) == []


def test_index_of_somebody_else_is_not_dropped(sql, conn, table):
    """An index that only has the name stays."""
    sql("CREATE UNIQUE INDEX uq ON t (k)")
    drop(conn, KEY, BuildRule())
    assert indexes(sql) == [("uq", True)]


def test_constraint_is_not_dropped_when_rows_could_not_come_back_h142(sql, conn, table):
    """Without its archive a run cannot be undone, so its constraint stays (H142)."""
    sql("INSERT INTO t VALUES (6, 5, 5)")
    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())
    sql("DROP TABLE dupe_audit.archive_1")
    with pytest.raises(Refused, match="archive-missing"):
        drop(conn, KEY, BuildRule())
    assert constraint(sql) == "UNIQUE (k)"
    ledger.purge(conn, 1)
    drop(conn, KEY, BuildRule())
    assert constraint(sql) is None


def test_constraint_that_a_foreign_key_needs_stays(sql, conn, table):
    """A foreign key that references the key keeps it, and the error says what it is."""
    enforce(conn, KEY, BuildRule())
    sql("CREATE TABLE c (k int REFERENCES t (k))")
    with pytest.raises(DupeAuditError, match="foreign key"):
        drop(conn, KEY, BuildRule())
    assert constraint(sql) == "UNIQUE (k)"


def test_drop_gives_way_and_names_who_is_in_the_way(sql, conn, table, psycopg_connect):
    """An open reader keeps the constraint for a while; the error names it."""
    enforce(conn, KEY, BuildRule())
    reader = psycopg_connect()
    reader.execute("SELECT count(*) FROM t")
    with pytest.raises(Blocked, match=rf"drop .*pid {reader.info.backend_pid}"):
        drop(conn, KEY, BuildRule(lock_timeout="50ms", give_up_after="500ms"))
    assert constraint(sql) == "UNIQUE (k)"


def test_ledger_never_claims_a_constraint_that_is_gone(sql, conn, table):
    """At no statement of a drop does the ledger say that the key is enforced when the constraint is not there."""
    enforce(conn, KEY, BuildRule())
    ledger.mark_enforced(conn, 1, "uq")
    states = []

    def look(*_):
        states.append((sql("SELECT state FROM dupe_audit.run")[0][0], constraint(sql)))

    event.listen(conn, "after_cursor_execute", look)
    drop(conn, KEY, BuildRule())
    assert {("enforced", "UNIQUE (k)"), ("dropped", None)} == set(states)


def test_constraint_of_a_table_of_the_same_name_stays(sql, conn):
    """With a schema, that one's constraint is made and dropped, and no other."""
    for schema in ("a", "b"):
        sql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.t (k int, CONSTRAINT uq UNIQUE (k))")
    drop(conn, UniqueKey(schema="b", table="t", columns=("k",), name="uq"), BuildRule())
    assert sql("SELECT conrelid::regclass::text FROM pg_constraint WHERE conname = 'uq'") == [("a.t",)]


def test_after_a_drop_an_index_of_the_name_is_somebody_elses(sql, conn, table):
    """Once the constraint is dropped, an invalid index of its name is not taken for our own leftover and dropped."""
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    sql("CREATE UNIQUE INDEX uq ON t (k); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq'::regclass")

    with pytest.raises(Refused, match="invalid-index"):
        enforce(conn, KEY, BuildRule())

    assert indexes(sql) == [("uq", False)]


@pytest.mark.torture
def test_ledger_never_claims_a_constraint_that_was_dropped(sql, conn, table):
    """A backend that dies right after it dropped the constraint leaves no run that says enforced."""
    enforce(conn, KEY, BuildRule())
    ledger.mark_enforced(conn, 1, "uq")

    def terminate(_connection, _cursor, _statement, *_):
        if constraint(sql) is None:
            sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query = 'COMMIT' AND state = 'idle' AND datname = current_database()"
            )

    event.listen(conn, "before_cursor_execute", terminate)
    with suppress(DBAPIError):
        drop(conn, KEY, BuildRule())
    assert constraint(sql) is None
    assert sql("SELECT state, building FROM dupe_audit.run") == [("dropped", False)]
