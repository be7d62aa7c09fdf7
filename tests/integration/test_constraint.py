"""The constraint is built under traffic, adopted and dropped, and no unfinished index is left behind."""

import logging
import re
import signal
import threading
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, drop_findings, enforce
from dupe_audit.errors import Blocked, DupeAuditError, DuplicatesKeepComing, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.locking import run_lock
from waiting import PATIENCE

KEY = UniqueKey(table="t", columns=("k",), name="uq")
QUICK = BuildRule(lock_timeout="50ms", give_up_after="2s")


@pytest.fixture
def table(sql):
    """Create a table with five keys and no duplicates."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int)")
    sql("INSERT INTO t SELECT i, i, i FROM generate_series(1, 5) AS i")


def constraint(sql):
    """Return the definition of the constraint, or None."""
    rows = sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'uq'")
    return rows[0][0] if rows else None


def indexes(sql):
    """Return the table's indexes except that of the primary key, with their validity."""
    return sql(
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass "
        "AND NOT indisprimary ORDER BY 1"
    )


def invalid_index(sql, name="uq", columns="k"):
    """Leave an invalid index behind, as a build that finds a duplicate does."""
    sql("INSERT INTO t VALUES (99, 1, 1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON t ({columns})")
    sql("DELETE FROM t WHERE id = 99")
    assert (name, False) in indexes(sql)


# Creating the constraint


def test_constraint_is_created(sql, conn, table):
    """The constraint has a valid index of the same name and a comment, and the ledger records it."""
    enforce(conn, KEY, BuildRule(comment="one k's row"))
    assert constraint(sql) == "UNIQUE (k)"
    assert indexes(sql) == [("uq", True)]
    assert sql("SELECT obj_description(oid) FROM pg_constraint WHERE conname = 'uq'") == [("one k's row",)]
    assert sql("SELECT constraint_name, keep FROM dupe_audit.run") == [("uq", None)]
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("INSERT INTO t VALUES (6, 5)")


def test_second_call_builds_nothing(sql, conn, table):
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
@pytest.mark.representatives("include", "deferred", "nulls not distinct")
def test_every_form_is_created_and_recognised(sql, conn, table, form, definition):
    """The constraint has the requested form, and a second call recognises it."""
    key = UniqueKey(**({"table": "t", "columns": ("k",), "name": "uq"} | form))
    enforce(conn, key, BuildRule())
    assert definition == constraint(sql)
    oid = sql("SELECT 'uq'::regclass::oid")
    enforce(conn, key, BuildRule())
    assert oid == sql("SELECT 'uq'::regclass::oid")
    drop(conn, key, BuildRule())
    assert (constraint(sql), indexes(sql)) == (None, [])


def test_finished_index_of_same_definition_is_adopted(sql, conn, table):
    """A valid index of the right name and definition is attached, not built again."""
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
@pytest.mark.representatives(
    "CREATE UNIQUE INDEX uq ON t (k, v)",
    "CREATE UNIQUE INDEX uq ON t (k) WHERE k > 0",
    "CREATE INDEX uq ON t USING hash (k)",
    "ALTER TABLE t ADD CONSTRAINT uq UNIQUE (k) DEFERRABLE",
    "CREATE TABLE u (k int)*",
    "CREATE SEQUENCE uq",
)
def test_another_object_of_the_name_is_not_touched_h49_h52(sql, conn, table, other):
    """An object of the same name but another definition is neither adopted nor dropped."""
    sql(other)
    query = "SELECT 'uq'::regclass::oid"
    before = sql(query)
    with pytest.raises(Refused, match="wrong-definition"):
        enforce(conn, KEY, QUICK)
    assert before == sql(query)


def test_own_invalid_index_is_built_again(sql, conn, table):
    """An invalid index that one of our own builds left behind is dropped and built again."""
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    ledger.mark_building(conn, 1, "uq")
    invalid_index(sql)
    enforce(conn, KEY, BuildRule())
    assert indexes(sql) == [("uq", True)]
    assert constraint(sql) == "UNIQUE (k)"


def test_foreign_invalid_index_is_not_touched_h49_h52(sql, conn, table):
    """An invalid index that is not in the ledger may belong to somebody else, so it is refused and stays."""
    invalid_index(sql)
    with pytest.raises(Refused, match="invalid-index"):
        enforce(conn, KEY, QUICK)
    assert indexes(sql) == [("uq", False)]


@pytest.mark.parametrize("kind", ["partial", "other columns"])
def test_invalid_index_of_another_definition_is_not_touched(sql, conn, table, kind):
    """An invalid index of another definition is not ours, even if the ledger records a build of ours."""
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    ledger.mark_building(conn, 1, "uq")
    invalid_index(sql, columns="v" if kind == "other columns" else "k) WHERE (k < 50")
    with pytest.raises(Refused, match="wrong-definition"):
        enforce(conn, KEY, QUICK)
    assert indexes(sql) == [("uq", False)]


def test_name_with_the_quotes_of_a_block_is_created_and_dropped(sql, conn, table):
    """A name that contains what quotes several statements in one message cannot end that message."""
    key = UniqueKey(table="t", columns=("k",), name="u$at_once$; DROP TABLE t; '\\\"")
    enforce(conn, key, BuildRule(comment="$at_once$"))
    assert [(key.name,)] == sql("SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'u'")
    drop(conn, key, BuildRule())
    assert [] == indexes(sql)


# Duplicates that keep arriving


def test_duplicate_without_a_cleanup_is_refused(sql, conn, table):
    """Without a cleanup, a duplicate fails the build with an error that says so, and no index remains."""
    sql("INSERT INTO t VALUES (6, 5)")
    with pytest.raises(Refused, match="duplicate"):
        enforce(conn, KEY, QUICK)
    assert (constraint(sql), indexes(sql)) == (None, [])


def test_new_duplicates_are_cleaned_under_the_same_run(sql, conn, table):
    """Duplicates that arrive before the build are cleaned, and the build is repeated until it succeeds."""
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
    """After `give_up_after`, and at least `build_attempts` builds, the error says what to do, and no index remains."""
    sql("INSERT INTO t VALUES (6, 5)")
    with pytest.raises(DuplicatesKeepComing, match=r"3 builds.*8 more in.*ON CONFLICT"):
        enforce(conn, KEY, BuildRule(build_attempts=3, give_up_after="1ms"), clean_again=lambda: 4)
    assert (constraint(sql), indexes(sql)) == (None, [])


def test_duplicate_that_arrives_during_the_build_h47(sql, conn, table, psycopg_connect, wait_until):
    """A duplicate that arrives while the build waits for writers fails the build, and is cleaned like any other."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")

    def interfere():
        wait_until(lambda: sql("SELECT 1 FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for writers%'"))
        writer.execute("INSERT INTO t VALUES (7, 6)")
        writer.commit()

    thread = threading.Thread(target=interfere)
    thread.start()
    rule = CleanupRule(divergent="archive")
    enforce(conn, KEY, BuildRule(), clean_again=lambda: sum(b.archived for b in cleanup(conn, KEY, rule)))
    thread.join()
    assert constraint(sql) == "UNIQUE (k)"
    assert sql("SELECT id FROM t WHERE k = 6") == [(6,)]


def test_other_failures_leave_no_index(sql, conn, table):
    """A build that fails for a reason other than a duplicate leaves no index either (H40)."""
    sql("ALTER TABLE t ADD COLUMN w text")
    sql("UPDATE t SET w = (SELECT string_agg(md5(i::text || id::text), '') FROM generate_series(1, 400) AS i)")
    with pytest.raises(Exception, match="index row"):
        enforce(conn, UniqueKey(table="t", columns=("w",), name="uq"), QUICK)
    assert indexes(sql) == []


# Locks of other sessions


def test_attach_gives_way_and_names_the_blocker_h75(sql, conn, table, psycopg_connect):
    """An open reader prevents the attach, which steps back after each try and in the end names the reader."""
    # That the application is served between the tries, and how long it waits, is in tests/torture/test_waits.py.
    sql("CREATE UNIQUE INDEX uq ON t (k)")
    reader = psycopg_connect()
    reader.execute("SELECT count(*) FROM t")
    with pytest.raises(Blocked, match=rf"attach .*pid {reader.info.backend_pid}") as blocked:
        enforce(conn, KEY, BuildRule(lock_timeout="100ms", give_up_after="2s"))
    assert re.search(r"\btr(y|ies) of 100ms", str(blocked.value))
    assert constraint(sql) is None

    reader.rollback()
    enforce(conn, KEY, QUICK)
    assert constraint(sql) == "UNIQUE (k)"


@pytest.mark.thorough
def test_build_held_up_by_an_old_snapshot_is_cancelled_h57(sql, conn, table, psycopg_connect):
    """A build that waits too long for a transaction is cancelled, names that transaction, and leaves no index."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    with pytest.raises(Blocked, match=rf"pid {old.info.backend_pid}"):
        enforce(conn, KEY, BuildRule(give_up_after="1s"))
    assert (constraint(sql), indexes(sql)) == (None, [])
    old.rollback()
    enforce(conn, KEY, QUICK)
    assert constraint(sql) == "UNIQUE (k)"


@pytest.fixture
def owner(sql, table, member):
    """Give the table to a role without special rights, which may create the ledger."""
    database = sql("SELECT current_database()")[0][0]
    sql(f"ALTER ROLE {member} LOGIN; ALTER TABLE t OWNER TO {member}; GRANT CREATE ON SCHEMA public TO {member}")
    sql(f"GRANT CREATE, TEMPORARY ON DATABASE {database} TO {member}")
    return member


@pytest.mark.thorough
def test_session_whose_state_is_hidden_is_named_by_its_pid(database_url, owner, psycopg_connect):
    """A role that may not see another one's session names its pid, and does not call it a prepared transaction."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    engine = create_engine(make_url(database_url).set(username=owner), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    signal.alarm(60)
    with engine.connect() as connection, pytest.raises(Blocked, match=rf"pid {old.info.backend_pid} .*state hidden"):
        enforce(connection, KEY, BuildRule(give_up_after="1s"))


@pytest.mark.thorough
def test_wait_of_a_build_is_limited_after_set_role(connect, owner, psycopg_connect):
    """The wait of a build has its limit too if the role was set and is not a member of the role that logged in."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    signal.alarm(60)
    with pytest.raises(Blocked, match=rf"pid {old.info.backend_pid} .*idle in transaction"):
        enforce(connect(role=owner), KEY, BuildRule(give_up_after="1s"))


def test_build_held_up_by_an_open_writer_is_cancelled(sql, conn, table, psycopg_connect, wait_until):
    """A build that an open writer holds up is cancelled and names it, and the index is dropped when the writer ends."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")

    # The index stays as long as the writer does; a build is reported as long as it lasts.
    over = "SELECT 1 FROM pg_class WHERE relname = 'uq' AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index)"

    def end_after_the_build():
        wait_until(lambda: sql(over))
        writer.rollback()

    thread = threading.Thread(target=end_after_the_build)
    thread.start()
    with pytest.raises(Blocked, match=rf"pid {writer.info.backend_pid}"):
        enforce(conn, KEY, BuildRule(give_up_after="4s"))  # which also limits the drop of the index
    thread.join()
    assert indexes(sql) == []


def test_give_up_after_limits_the_whole_wait(sql, conn, table, psycopg_connect):
    """The build waits for a writer no longer than `give_up_after`, the removal of its index included."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")
    signal.alarm(60)
    with pytest.raises(Blocked, match=rf"pid {writer.info.backend_pid}"):
        enforce(conn, KEY, BuildRule(give_up_after="1s"))
    assert sql("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('uq') AND indisready") == []


def test_prepared_transaction_that_holds_up_the_build_h58(sql, conn, table, connect):
    """A prepared transaction has no pid, so the error says that it is a prepared transaction."""
    if sql("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("the server has no prepared transactions")
    sql("BEGIN; INSERT INTO t VALUES (6, 6); PREPARE TRANSACTION 'forgotten'")
    signal.alarm(60)
    try:
        with pytest.raises(Blocked, match="prepared transaction"):
            enforce(conn, KEY, BuildRule(give_up_after="1s"))
    finally:
        sql("ROLLBACK PREPARED 'forgotten'")
    # It also holds up the removal of the unfinished index; the next run starts with that removal.
    enforce(conn, KEY, BuildRule())
    assert indexes(sql) == [("uq", True)]


@pytest.mark.thorough
def test_session_settings_are_restored_h73(sql, conn, table, psycopg_connect):
    """Settings that the build changes are restored, whether it succeeds or fails."""
    query = (
        "SELECT name, setting FROM pg_settings WHERE name ~ 'timeout|check_interval|maintenance|row_sec' ORDER BY name"
    )
    conn.exec_driver_sql("SET lock_timeout = '7s'; SET statement_timeout = '8s'")
    before = conn.exec_driver_sql(query).all()
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    rule = BuildRule(give_up_after="1s", maintenance_work_mem="2MB", max_parallel_maintenance_workers="0")
    with pytest.raises(Blocked):
        enforce(conn, KEY, rule)
    assert before == conn.exec_driver_sql(query).all()
    old.rollback()
    enforce(conn, KEY, rule)
    drop(conn, KEY, rule)
    assert before == conn.exec_driver_sql(query).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"lock_timeout": "1ms"},
        {"default_transaction_isolation": "serializable"},
        {"search_path": ""},
        {"idle_in_transaction_session_timeout": "5s"},
        {"maintenance_work_mem": "1MB"},
    ],
    ids=lambda settings: "=".join(*settings.items()),
)
@pytest.mark.representatives("default_transaction_isolation=serializable", "search_path=")
def test_defaults_of_the_role_change_nothing_h56(sql, connect, table, settings):
    """Settings of a role, a database or a URL do not change the outcome."""
    key = UniqueKey(schema="public", table="t", columns=("k",), name="uq")
    connection = connect(**settings)
    enforce(connection, key, QUICK)
    assert constraint(sql) == "UNIQUE (k)"
    drop(connection, key, QUICK)
    assert constraint(sql) is None


def test_statement_timeout_of_the_role_ends_no_build_h56(sql, connect, table, psycopg_connect, wait_until):
    """A build takes longer than the statement timeout that the role or the URL sets."""
    connection, writer = connect(statement_timeout="1s"), psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")
    long = (
        "SELECT 1 FROM pg_stat_activity "
        "WHERE query LIKE 'CREATE UNIQUE%' AND query_start < clock_timestamp() - interval '1.2 s'"
    )

    def leave() -> None:
        wait_until(lambda: sql(long))
        writer.commit()

    thread = threading.Thread(target=leave)
    thread.start()
    enforce(connection, KEY, BuildRule())
    thread.join()
    assert constraint(sql) == "UNIQUE (k)"


# Clients that are killed


BUILD = "enforce(conn, UniqueKey(table='t', columns=('k',), name='uq'), BuildRule(give_up_after='1min'))"
WAITING = "SELECT pid FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%' AND datname = current_database()"


@pytest.mark.torture
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.representatives("2")
def test_interrupt_leaves_no_index_h48(sql, table, client, psycopg_connect, wait_until, signal_number):
    """An interrupt in the middle of a build drops the index before the client exits."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    process = client(BUILD)
    wait_until(lambda: sql(WAITING))
    assert indexes(sql) == [("uq", False)]
    process.send_signal(signal_number)
    # DROP INDEX CONCURRENTLY waits for transactions that may still use the index, but not for an old snapshot.
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert "Interrupted" in stderr
    old.rollback()
    assert indexes(sql) == []


@pytest.mark.torture
def test_build_of_a_killed_client_is_completed_h53_h71(sql, conn, table, client, psycopg_connect, wait_until):
    """If a client is killed during a build, the next call removes its index and creates the constraint."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    process = client(BUILD)
    wait_until(lambda: sql(WAITING))
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not sql(WAITING))  # the backend checks every second whether its client still exists
    assert indexes(sql) == [("uq", False)]
    old.rollback()
    enforce(conn, KEY, BuildRule(give_up_after="20s"))
    assert constraint(sql) == "UNIQUE (k)"
    assert indexes(sql) == [("uq", True)]


@pytest.mark.thorough
@pytest.mark.torture
def test_build_of_a_terminated_backend_is_completed(sql, conn, table, client, psycopg_connect, wait_until):
    """If a backend is terminated during a build, the next call removes its index and creates the constraint."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")
    process = client(BUILD)
    wait_until(lambda: sql(WAITING))
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")
    process.communicate(timeout=PATIENCE)
    writer.rollback()
    enforce(conn, KEY, BuildRule(give_up_after="20s"))
    assert indexes(sql) == [("uq", True)]


def test_lost_connection_is_reported(sql, connect, table, psycopg_connect, wait_until):
    """If the backend is terminated during a build, the error is the lost connection and not a consequence of it."""
    writer = psycopg_connect()
    writer.execute("INSERT INTO t VALUES (6, 6)")

    def terminate():
        wait_until(lambda: sql(WAITING))
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")

    thread = threading.Thread(target=terminate)
    thread.start()
    with pytest.raises(DBAPIError, match="terminating connection"):
        enforce(connect(), KEY, BuildRule())
    thread.join()


def test_build_of_another_session_is_waited_for_h55(sql, conn, table, psycopg_connect, wait_until):
    """Two concurrent builds on one table would deadlock, so another session's build is waited for, or named."""
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


# Dropping the constraint


def test_missing_constraint_can_be_dropped(sql, conn, table):
    """Dropping a constraint that does not exist is not an error, however often it is repeated."""
    drop(conn, KEY, BuildRule())
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    assert (constraint(sql), indexes(sql)) == (None, [])
    assert sql("SELECT state FROM dupe_audit.run") == [("dropped",)]


def test_half_built_index_is_dropped(sql, conn, table):
    """The downgrade drops the unfinished index of a killed upgrade."""
    list(cleanup(conn, KEY, CleanupRule()))
    ledger.mark_building(conn, 1, "uq")
    invalid_index(sql)
    drop(conn, KEY, BuildRule())
    assert indexes(sql) == []


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ("CREATE UNIQUE INDEX uq ON t (k)", "an index"),
        ("CREATE INDEX uq ON t (k)", "an index"),
        ("ALTER TABLE t ADD CONSTRAINT uq CHECK (k > 0)", "a check constraint"),
        ("ALTER TABLE t ADD CONSTRAINT uq FOREIGN KEY (k) REFERENCES t (id)", "a foreign key"),
        ("ALTER TABLE t RENAME CONSTRAINT t_pkey TO uq", "the primary key"),
        ("ALTER TABLE t ADD CONSTRAINT uq EXCLUDE (k WITH =)", "an exclusion constraint"),
    ],
)
def test_what_is_no_unique_constraint_is_not_dropped(sql, conn, table, other, kind):
    """An index or a constraint of another kind that has the name is refused and stays."""
    sql(other)
    objects = "SELECT oid FROM pg_class WHERE relname = 'uq' UNION SELECT oid FROM pg_constraint WHERE conname = 'uq'"
    before = sql(objects)
    with pytest.raises(Refused, match=f"not-a-constraint. uq is {kind} on public.t"):
        drop(conn, KEY, BuildRule())
    assert sorted(before) == sorted(sql(objects))


def test_index_of_that_name_on_another_table_is_named(sql, conn, table, caplog):
    """If the name belongs to another table's index, nothing is dropped, and the log names that table."""
    sql("CREATE TABLE u (k int CONSTRAINT uq UNIQUE)")
    drop(conn, KEY, BuildRule())
    assert "public.t has no constraint uq, but u has an index of that name" in caplog.text
    assert constraint(sql) == "UNIQUE (k)"


@pytest.mark.parametrize(
    ("state", "in_use"),
    {
        "identity of a published table": ("CREATE PUBLICATION p FOR TABLE t", True),
        "identity of a table that all publish": ("CREATE PUBLICATION p FOR ALL TABLES", True),
        "not published": ("SELECT", False),
        "only inserts are published": ("CREATE PUBLICATION p FOR TABLE t WITH (publish = 'insert')", False),
        "another identity": ("CREATE PUBLICATION p FOR TABLE t; ALTER TABLE t REPLICA IDENTITY FULL", False),
        "another index": ("CREATE PUBLICATION p FOR TABLE t; ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey", False),
    }.values(),
)
def test_replica_identity_of_a_published_table_is_in_use(sql, conn, table, state, in_use):
    """A constraint whose drop would let a published table reject updates and deletes is in use; no other is."""
    sql(
        "ALTER TABLE t ALTER k SET NOT NULL, ADD CONSTRAINT uq UNIQUE (k);ALTER TABLE t REPLICA IDENTITY USING INDEX uq"
    )
    sql(state)
    findings = drop_findings(conn, KEY)
    assert (["constraint-in-use"] if in_use else []) == [finding.id for finding in findings]
    if in_use:
        assert "needed by publications (p), for which its index is the replica identity" in findings[0].message
    sql("ALTER TABLE t DROP CONSTRAINT uq")
    try:
        sql("UPDATE t SET v = 0")
    except psycopg.errors.ObjectNotInPrerequisiteState:
        assert in_use
    else:
        assert not in_use


def test_adopted_replica_identity_is_not_in_use(sql, conn, table):
    """An index that the upgrade adopted is the replica identity again after the drop, so the drop is not refused."""
    sql("ALTER TABLE t ALTER k SET NOT NULL; CREATE UNIQUE INDEX uq ON t (k)")
    sql("ALTER TABLE t REPLICA IDENTITY USING INDEX uq; CREATE PUBLICATION p FOR TABLE t")
    enforce(conn, KEY, BuildRule())
    assert [] == drop_findings(conn, KEY)
    drop(conn, KEY, BuildRule())
    sql("UPDATE t SET v = 0")


ADOPTED = [
    "CREATE UNIQUE INDEX uq ON t (k)",
    "CREATE UNIQUE INDEX uq ON t (k) WITH (fillfactor = 50)",
]


@pytest.mark.parametrize("definition", ADOPTED)
def test_adopted_index_is_left_in_place_of_the_constraint(sql, conn, table, definition):
    """After the downgrade, an index that existed before the upgrade exists again, with its definition and name."""
    sql(definition)
    shown = "SELECT pg_get_indexdef(to_regclass('uq')), indisvalid FROM pg_index WHERE indexrelid = to_regclass('uq')"
    before = sql(shown)
    for _ in range(2):
        enforce(conn, KEY, BuildRule())
        assert constraint(sql) == "UNIQUE (k)"
        assert [(before[0][0],)] == sql("SELECT adopted_index FROM dupe_audit.run")
        drop(conn, KEY, BuildRule())
        assert constraint(sql) is None
        assert (before, [("uq", True)]) == (sql(shown), indexes(sql))
        assert [("dropped",)] == sql("SELECT state FROM dupe_audit.run")
        drop(conn, KEY, BuildRule())  # an interrupted downgrade does it again
        assert before == sql(shown)


def test_adopted_index_keeps_its_comment_and_its_marks(sql, conn, table):
    """The index left in place of the constraint has the comment, the replica identity and the CLUSTER mark again."""
    sql("ALTER TABLE t ALTER k SET NOT NULL; CREATE UNIQUE INDEX uq ON t (k); COMMENT ON INDEX uq IS 'it''s 50% ours'")
    sql("ALTER TABLE t REPLICA IDENTITY USING INDEX uq; ALTER TABLE t CLUSTER ON uq")
    enforce(conn, KEY, BuildRule(comment="of the constraint"))
    drop(conn, KEY, BuildRule())
    assert [("it's 50% ours", True, True, "i")] == sql(
        "SELECT obj_description(indexrelid, 'pg_class'), indisreplident, indisclustered, relreplident::text "
        "FROM pg_index JOIN pg_class t ON t.oid = indrelid WHERE indexrelid = 'uq'::regclass"
    )


@pytest.fixture
def tablespace(sql, value):
    """The name of a tablespace beside the database's own."""
    name = f"{value('SELECT current_database()')}_space"
    sql("SET allow_in_place_tablespaces = on")
    sql(f"CREATE TABLESPACE {name} LOCATION ''")
    yield name
    sql("DROP TABLE IF EXISTS t")
    sql(f"DROP TABLESPACE {name}")


@pytest.mark.parametrize("place", ["other", "default"])
def test_adopted_index_is_built_in_its_tablespace(sql, conn, table, tablespace, place):
    """The index left in place of the constraint is where it was, whatever default the session has."""
    sql(f"CREATE UNIQUE INDEX uq ON t (k){f' TABLESPACE {tablespace}' if place == 'other' else ''}")
    enforce(conn, KEY, BuildRule())
    conn.exec_driver_sql(f"SET default_tablespace = {tablespace if place == 'default' else 'pg_default'}")
    drop(conn, KEY, BuildRule())
    shown = "SELECT tablespace FROM pg_indexes WHERE indexname = 'uq'"
    assert [(tablespace if place == "other" else None,)] == sql(shown)


def test_adopted_index_in_a_forbidden_tablespace_is_built_in_the_default_one(
    sql, conn, table, tablespace, member, caplog
):
    """A role that may not create anything in the index's tablespace is warned, and the index is in the default one."""
    sql(f"CREATE UNIQUE INDEX uq ON t (k) TABLESPACE {tablespace}; ALTER TABLE t OWNER TO {member}")
    sql(f"DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {member}', current_database()); END $$")
    sql(f"GRANT CREATE ON SCHEMA public TO {member}")
    conn.exec_driver_sql(f"SET ROLE {member}")
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    assert [(None,)] == sql("SELECT tablespace FROM pg_indexes WHERE indexname = 'uq'")
    assert f"index uq was in tablespace {tablespace}, where this role may not create anything" in caplog.text


def test_adopted_index_follows_a_renamed_table(sql, conn, table):
    """The index that is left in place of the constraint has the names that the table and the column have now."""
    sql("CREATE UNIQUE INDEX uq ON t (k)")
    enforce(conn, KEY, BuildRule())
    sql('CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s; ALTER TABLE s.t RENAME k TO "key K"')
    drop(conn, UniqueKey(schema="s", table="t", columns=("?",), name="uq"), BuildRule())
    assert [('CREATE UNIQUE INDEX uq ON s.t USING btree ("key K")',)] == sql("SELECT pg_get_indexdef('s.uq'::regclass)")


def test_adoption_ends_when_the_index_is_built_by_an_upgrade(sql, conn, table):
    """If an adopted index was dropped by hand, the index that the next upgrade builds goes with the constraint."""
    sql("CREATE UNIQUE INDEX uq ON t (k)")
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    sql("DROP INDEX uq")
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    assert [] == indexes(sql)


@pytest.mark.thorough
def test_own_index_is_not_taken_for_an_adopted_one(sql, conn, table, psycopg_connect):
    """An index that an interrupted upgrade built is dropped with the constraint."""
    reader = psycopg_connect()
    reader.execute("SELECT count(*) FROM t")
    with pytest.raises(Blocked):
        enforce(conn, KEY, QUICK)
    assert [("uq", True)] == indexes(sql)
    reader.rollback()
    enforce(conn, KEY, BuildRule())
    assert [(None,)] == sql("SELECT adopted_index FROM dupe_audit.run")
    drop(conn, KEY, BuildRule())
    assert [] == indexes(sql)


@pytest.mark.parametrize("left", ["valid", "invalid"])
def test_interrupted_way_back_continues_with_the_index_it_has_built(sql, conn, table, left):
    """The downgrade finds what an earlier attempt has built to take the constraint's place, or builds it again."""
    sql("CREATE UNIQUE INDEX uq ON t (k)")
    enforce(conn, KEY, BuildRule())
    sql("CREATE UNIQUE INDEX dupe_audit_adopted_1 ON t (k)")
    if left == "invalid":
        sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'dupe_audit_adopted_1'::regclass")
    drop(conn, KEY, BuildRule())
    assert (None, [("uq", True)]) == (constraint(sql), indexes(sql))


def test_adopted_index_of_a_referenced_constraint_leaves_nothing_behind(sql, conn, table):
    """If the constraint cannot be dropped, what was built to take its place is dropped."""
    sql("CREATE UNIQUE INDEX uq ON t (k)")
    enforce(conn, KEY, BuildRule())
    sql("CREATE TABLE c (k int REFERENCES t (k))")
    with pytest.raises(DupeAuditError, match="foreign key"):
        drop(conn, KEY, BuildRule())
    assert ("UNIQUE (k)", [("uq", True)]) == (constraint(sql), indexes(sql))


def test_constraint_whose_archive_is_missing_is_not_dropped_h142(sql, conn, table):
    """A run whose archive is missing cannot be undone, so its constraint stays (H142)."""
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


def test_referenced_constraint_is_not_dropped(sql, conn, table):
    """A constraint that a foreign key references stays, and the error says so."""
    enforce(conn, KEY, BuildRule())
    sql("CREATE TABLE c (k int REFERENCES t (k))")
    with pytest.raises(DupeAuditError, match="foreign key"):
        drop(conn, KEY, BuildRule())
    assert constraint(sql) == "UNIQUE (k)"


def test_drop_gives_way_and_names_the_blocker(sql, conn, table, psycopg_connect):
    """An open reader prevents the drop, and the error names it."""
    enforce(conn, KEY, BuildRule())
    reader = psycopg_connect()
    reader.execute("SELECT count(*) FROM t")
    with pytest.raises(Blocked, match=rf"drop .*pid {reader.info.backend_pid}"):
        drop(conn, KEY, BuildRule(lock_timeout="50ms", give_up_after="500ms"))
    assert constraint(sql) == "UNIQUE (k)"


def test_ledger_never_claims_a_missing_constraint(sql, conn, table):
    """At no statement of a drop does the ledger say enforced while the constraint does not exist."""
    enforce(conn, KEY, BuildRule())
    ledger.mark_enforced(conn, 1, "uq")
    states = []

    def record_state(*_):
        states.append((sql("SELECT state FROM dupe_audit.run")[0][0], constraint(sql)))

    event.listen(conn, "after_cursor_execute", record_state)
    drop(conn, KEY, BuildRule())
    assert {("enforced", "UNIQUE (k)"), ("dropped", None)} == set(states)


def test_constraint_in_another_schema_stays(sql, conn):
    """With a schema, only the constraint of that schema's table is dropped."""
    for schema in ("a", "b"):
        sql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.t (k int, CONSTRAINT uq UNIQUE (k))")
    drop(conn, UniqueKey(schema="b", table="t", columns=("k",), name="uq"), BuildRule())
    assert sql("SELECT conrelid::regclass::text FROM pg_constraint WHERE conname = 'uq'") == [("a.t",)]


def test_invalid_index_after_a_drop_is_not_ours(sql, conn, table):
    """After the constraint is dropped, an invalid index of its name is not mistaken for our own leftover."""
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    sql("CREATE UNIQUE INDEX uq ON t (k); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq'::regclass")

    with pytest.raises(Refused, match="invalid-index"):
        enforce(conn, KEY, BuildRule())

    assert indexes(sql) == [("uq", False)]


@pytest.mark.torture
def test_ledger_is_right_if_the_backend_dies_after_the_drop(sql, conn, table):
    """If the backend dies right after it dropped the constraint, the ledger does not say enforced."""
    enforce(conn, KEY, BuildRule())
    ledger.mark_enforced(conn, 1, "uq")

    def terminate(_connection, _cursor, _statement, *_):
        if constraint(sql) is None:
            sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'DO %' AND state = 'idle' AND datname = current_database()"
            )

    event.listen(conn, "before_cursor_execute", terminate)
    with suppress(DBAPIError):
        drop(conn, KEY, BuildRule())
    assert constraint(sql) is None
    assert sql("SELECT state, building FROM dupe_audit.run") == [("dropped", False)]


WAITING_STEPS = {
    "cleanup": lambda conn: list(cleanup(conn, KEY, CleanupRule())),
    "enforce": lambda conn: enforce(conn, KEY, BuildRule()),
    "drop": lambda conn: drop(conn, KEY, BuildRule()),
}
CHANGES = {
    "renamed": "ALTER TABLE t RENAME TO other; CREATE TABLE t (LIKE other)",
    "moved": "CREATE SCHEMA elsewhere; ALTER TABLE t SET SCHEMA elsewhere; CREATE TABLE t (LIKE elsewhere.t)",
    "dropped": "DROP TABLE t; CREATE TABLE t (id int, k int)",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("step", WAITING_STEPS)
@pytest.mark.representatives("cleanup-moved", "enforce-dropped", "drop-renamed")
def test_table_of_the_same_name_is_left_alone_after_a_wait(sql, conn, table, connect, wait_until, caplog, step, change):
    """A step that waits for another session refuses if the table was renamed, moved or dropped meanwhile."""
    caplog.set_level(logging.INFO, logger="alembic.dupe_audit")
    errors = []

    def work():
        with pytest.raises(DupeAuditError, match=f"was {'dropped' if change == 'dropped' else 'renamed'}") as error:
            WAITING_STEPS[step](conn)
        errors.append(error)

    worker = threading.Thread(target=work)
    with run_lock(connect(), sql("SELECT 't'::regclass::oid::bigint")[0][0]):
        worker.start()
        wait_until(lambda: "waiting for another session" in caplog.text)
        sql(CHANGES[change])
        sql("ALTER TABLE t ADD CONSTRAINT uq UNIQUE (k); INSERT INTO t (id, k) VALUES (1, 7)")
    worker.join()
    assert len(errors) == 1
    assert ("UNIQUE (k)", [(1, 7)]) == (constraint(sql), sql("SELECT id, k FROM t"))
