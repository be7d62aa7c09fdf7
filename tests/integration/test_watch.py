"""A look from another session shows what is running, its progress and its blockers, and delays no one."""

import threading
import time
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy.exc import SQLAlchemyError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.locking import at_work
from dupe_audit.restore import restore
from dupe_audit.watch import render as render_watch
from dupe_audit.watch.facts import Activity
from dupe_audit.watch.look import Memory, look, prepare
from waiting import PATIENCE

KEY = UniqueKey(table="t", columns=("k",), name="uq")
SMALL = CleanupRule(batch_size=3)


@pytest.fixture
def table(sql):
    """A table of eight keys and twelve extras, with values that must not be shown."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text)")
    sql("INSERT INTO t SELECT i, i % 8 + 770000, 'secret' FROM generate_series(1, 20) AS i")


@pytest.fixture(name="look")
def look_from_a_new_session(connect):
    """Look from a new session, as the command does."""
    connection = connect()
    prepare(connection)
    return lambda memory=None: look(connection, memory)


@pytest.fixture
def only(look):
    """Look, and return the only activity, or an empty one if no session works yet."""

    def only_activity():
        (activity,) = look().working or [Activity(schema="", table="")]
        return activity

    return only_activity


@pytest.fixture
def waiting(only, wait_until):
    """Look until the work is in a phase and waits for a session, and return the activity of that one look.

    Between two tries for a lock, a step waits for nobody; a second look could meet it there. A build waits for a
    moment for the statement of a look itself, and can have reached the next leaf when its blockers are read.
    """

    def activity_in(phase, leaf=None):
        def blocked_activity():
            activity = only()
            if activity.phase != phase or (leaf and activity.leaf != leaf):
                return None
            return activity if activity.waiting and activity.blockers else None

        return wait_until(blocked_activity)

    return activity_in


@pytest.fixture
def holder(psycopg_connect):
    """A session of the application that holds locks for a test."""
    return psycopg_connect(application_name="report")


@pytest.fixture
def beside(holder):
    """Execute a step in its own thread, which ends at the latest when the holder's locks are released."""
    threads = []

    def start(step):
        def work():
            with suppress(DupeAuditError, SQLAlchemyError):
                step()

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return threads[-1]

    yield start
    holder.rollback()
    for thread in threads:
        thread.join()


def blocked_by(activity, holder, lock=None):
    """Return whether the work waits for the holder's session and for no other."""
    (blocker,) = activity.blockers
    return (holder.info.backend_pid, "report", "idle in transaction", lock) == (
        *(blocker.pid, blocker.name, blocker.state),
        blocker.lock if lock else None,
    )


# What is running


def test_without_a_ledger(look):
    """A database in which nothing was ever cleaned is not an error."""
    view = look()
    assert (False, (), (), ()) == (view.ledger, view.working, view.stalled, view.resting)
    assert [render_watch.NO_LEDGER] == render_watch.lines(view)


def test_a_cleanup_is_counted_from_batch_to_batch(conn, table, look, only, unhurried):
    """Archived extras grow with each batch, speed and time left follow from the second one, and the end is shown."""
    batches, activities = cleanup(conn, KEY, SMALL), []
    for _ in range(3):
        next(batches)
        activities.append(only())
    assert ["cleaning"] * 3 == [activity.phase for activity in activities]
    assert [(3, 12, "extras"), (6, 12, "extras"), (9, 12, "extras")] == [
        (activity.progress.done, activity.progress.total, activity.progress.unit) for activity in activities
    ]
    assert activities[0].progress.eta is None
    assert activities[2].progress.rate > 0
    assert activities[2].progress.eta == pytest.approx(3 / activities[2].progress.rate)
    assert not any(activity.waiting or activity.hidden or activity.stalled for activity in activities)

    list(batches)
    view = look()
    assert ((), ()) == (view.working, view.stalled)
    assert ("clean", 12) == (view.resting[0].run.state, view.resting[0].run.archived)


def test_ranking_is_shown(conn, table, waiting, holder, beside):
    """Before the first batch the table is ranked, and the session that keeps it locked is named."""
    ledger.create(conn, "postgres")
    holder.execute("LOCK TABLE t")
    beside(lambda: list(cleanup(conn, KEY, SMALL)))
    # The archive is created like the table, so that waits too; no run is open yet.
    assert blocked_by(waiting("preparing"), holder)
    holder.rollback()


def test_locked_rows_are_shown(conn, table, waiting, holder, beside):
    """A cleanup that skips locked rows names the session that locked them, and shows no speed."""
    holder.execute("SELECT FROM t WHERE id > 8 FOR UPDATE")
    thread = beside(lambda: list(cleanup(conn, KEY, SMALL)))
    activity = waiting("cleaning")
    assert (0, 12, None) == (activity.progress.done, activity.progress.total, activity.progress.rate)
    assert blocked_by(activity, holder, "RowShareLock")
    holder.rollback()
    thread.join()


@pytest.mark.parametrize(
    ("held", "step"),
    [
        ("UPDATE t SET v = v WHERE id = 1", "waiting for writers before build"),
        ("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE", "waiting for the table"),
    ],
)
def test_a_waiting_build_is_shown(conn, sql, table, waiting, holder, beside, held, step):
    """A build shows PostgreSQL's own phase and names the transaction for which it waits."""
    sql("DELETE FROM t WHERE id > 8")
    holder.execute(held)
    beside(lambda: enforce(conn, KEY, BuildRule()))
    activity = waiting("building")
    assert (step, "uq", None) == (activity.progress.step, activity.run.constraint, activity.progress.eta)
    assert blocked_by(activity, holder)
    holder.rollback()


PARTITIONED = """
CREATE TABLE p (id int, k int, r int) PARTITION BY LIST (r);
CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2)
"""


def test_the_leaf_of_a_tree_is_shown(conn, sql, waiting, holder, beside, psycopg_connect):
    """A build names its leaf; while a reader holds up the attach of one leaf, the phase is not "verifying"."""
    sql(PARTITIONED)
    holder.execute("INSERT INTO p VALUES (1, 1, 2)")
    thread = beside(lambda: enforce(conn, UniqueKey(table="p", columns=("k", "r"), name="uq"), BuildRule()))
    activity = waiting("building", leaf="public.p_2")
    assert ("p", True) == (activity.table, blocked_by(activity, holder))
    with psycopg_connect(application_name="report") as reader:
        reader.execute("SELECT FROM p_2")  # before the build goes on; a reader holds up no build
        holder.rollback()
        assert blocked_by(waiting("attaching"), reader, "AccessShareLock on p_2")
    thread.join()
    assert [(True,)] == sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'uq'::regclass")


TOASTED = """
CREATE TABLE t (id int PRIMARY KEY, k text, v text);
ALTER TABLE t ALTER k SET STORAGE EXTERNAL;
INSERT INTO t SELECT i, CASE WHEN i IN (1000, 3000) THEN repeat(md5(i::text), 80) ELSE md5(i::text) END,
                     repeat('x', 300) FROM generate_series(1, 4000) AS i
"""
INDEX = (
    "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class t ON t.reltoastrelid = indrelid WHERE relname = 't'"
)
LOCK_REQUESTED = "SELECT 1 FROM pg_locks WHERE relation = '{}'::regclass AND mode = '{}' AND NOT granted"


def test_a_build_is_counted(conn, sql, look, holder, beside, psycopg_connect, wait_until):
    """A build's scanned blocks grow from look to look, and give a speed and a time left."""
    # Two keys are so long that they are stored out of line, and a lock there stops the scan when it reaches one.
    sql(TOASTED)
    index = sql(INDEX)[0][0]
    hold = f"REINDEX INDEX {index}".encode()
    holder.execute(hold)
    beside(lambda: enforce(conn, KEY, BuildRule()))
    wait_until(lambda: sql(LOCK_REQUESTED.format(index, "AccessShareLock")))
    memory, counted = Memory(), []
    counted += [work.progress for work in look(memory).working]

    with psycopg_connect() as second:
        thread = threading.Thread(target=second.execute, args=[hold])
        thread.start()
        wait_until(lambda: sql(LOCK_REQUESTED.format(index, "AccessExclusiveLock")))
        holder.rollback()
        thread.join()
        wait_until(lambda: sql(LOCK_REQUESTED.format(index, "AccessShareLock")))
        counted += [work.progress for work in look(memory).working]
        second.rollback()

    assert [("blocks", "building index: scanning table")] * 2 == [(scan.unit, scan.step) for scan in counted]
    first, last = counted
    assert first.done < last.done < last.total
    assert last.rate > 0
    assert last.eta is not None


def test_attaching_and_dropping_are_shown(conn, sql, table, waiting, look, holder, beside, wait_until, monkeypatch):
    """The two moments that need an exclusive lock on the table name the session that holds one."""
    sql("DELETE FROM t WHERE id > 8")
    holder.execute("SELECT FROM t")
    thread = beside(lambda: enforce(conn, KEY, BuildRule()))
    assert blocked_by(waiting("attaching"), holder, "AccessShareLock")
    holder.rollback()
    thread.join()

    ledger.mark_enforced(conn, 1, "uq")
    holder.execute("SELECT FROM t")
    memory, stay, stepped_back, go_on = Memory(), *(threading.Event() for _ in range(3))

    def sleep(_seconds):
        if stay.is_set():
            stepped_back.set()
            assert go_on.wait(PATIENCE)

    monkeypatch.setattr("dupe_audit.postgres.patience.sleep", sleep)
    thread = beside(lambda: drop(conn, KEY, BuildRule()))
    wait_until(lambda: ["dropping"] == [work.phase for work in look(memory).working])
    stay.set()
    wait_until(stepped_back.is_set)
    (activity,) = look(memory).working  # it is between two attempts and requests no lock
    assert ("dropping", True) == (activity.phase, blocked_by(activity, holder, "AccessShareLock"))
    holder.rollback()
    go_on.set()
    thread.join()


def test_verifying_is_distinguished_from_an_abandoned_run(conn, sql, table, look, only):
    """While a directive verifies its constraint, no session holds the run lock, but the run is not unfinished."""
    sql("DELETE FROM t WHERE id > 8")
    enforce(conn, KEY, BuildRule())
    (stalled,) = look().stalled
    assert ("uq", "Run: alembic upgrade head") == (stalled.run.constraint, stalled.help)

    with at_work(conn, sql("SELECT 't'::regclass::oid::int8")[0][0]):
        assert ("verifying", ()) == (only().phase, look().stalled)
    assert look().stalled


def test_a_restore_is_counted(conn, table, look, only):
    """A restore is counted too; stopped halfway it is unfinished, and at its end it is restored."""
    list(cleanup(conn, KEY, SMALL))
    drop(conn, KEY, BuildRule())
    rows = restore(conn, 1, batch_size=4)
    next(rows)
    next(rows)
    activity = only()
    assert ("restoring", 8, 12, "rows") == (
        activity.phase,
        activity.progress.done,
        activity.progress.total,
        activity.progress.unit,
    )
    rows.close()
    (stalled,) = look().stalled
    assert "dupe-audit restore 1" in stalled.help
    list(restore(conn, 1))
    assert ("restored", 12) == (look().resting[0].run.state, look().resting[0].run.restored)


def test_two_tables_at_once(connect, sql, table, look):
    """Each table that a session works on is shown on its own, and an abandoned one does not hide the other."""
    sql("CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u TABLE t")
    first = cleanup(connect(), KEY, SMALL)
    second = cleanup(connect(), UniqueKey(table="u", columns=("k",)), SMALL)
    next(first)
    next(second)
    assert {("t", 1), ("u", 2)} == {(activity.table, activity.run.id) for activity in look().working}
    first.close()
    view = look()
    assert (["u"], ["t"]) == (
        [activity.table for activity in view.working],
        [activity.table for activity in view.stalled],
    )
    second.close()


def test_an_index_built_by_hand(conn, sql, table, waiting, holder, beside, look):
    """A build outside any run is shown without one, and an unfinished run of the table stays unfinished."""
    batches = cleanup(conn, KEY, SMALL)
    next(batches)
    batches.close()
    holder.execute("UPDATE t SET v = v WHERE id = 1")
    beside(lambda: conn.exec_driver_sql("CREATE INDEX CONCURRENTLY other ON t (v)"))
    activity = waiting("building")
    assert ("t", None, True) == (activity.table, activity.run, blocked_by(activity, holder))
    assert [1] == [activity.run.id for activity in look().stalled]
    holder.rollback()


# What is unfinished


def test_an_abandoned_cleanup_is_unfinished(conn, table, look):
    """A run that no session works on is unfinished, with help; once its table is dropped, it is not."""
    batches = cleanup(conn, KEY, SMALL)
    next(batches)
    batches.close()
    (stalled,) = look().stalled
    assert (None, "cleaning", "Run: alembic upgrade head") == (stalled.phase, stalled.run.state, stalled.help)
    assert "UNFINISHED" in render_watch.line(stalled)

    conn.exec_driver_sql("DROP TABLE t")
    assert () == look().stalled


def test_a_refused_run_is_unfinished(conn, sql, table, look):
    """A run whose pass was refused is shown with the command that says why, until it is purged."""
    sql("UPDATE t SET v = id::text")
    with pytest.raises(Refused):
        list(cleanup(conn, KEY, SMALL))
    (stalled,) = look().stalled
    assert "failed" == stalled.run.state
    assert "For the reason: dupe-audit preflight" in stalled.help
    ledger.purge(conn, 1)
    assert () == look().stalled


# What it delays, and what it cannot see


def test_looking_delays_no_build(psycopg_connect, sql, table, conn, look):
    """Continuous looks do not delay a build, whereas a single held snapshot does."""
    list(cleanup(conn, KEY, SMALL))
    builder, stop, looks = psycopg_connect(autocommit=True), threading.Event(), []

    def keep_looking():
        while not stop.is_set():
            looks.append(look())

    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        builder.execute("SET statement_timeout = '2min'")
        while len(looks) < 12:  # psycopg would prepare a statement at its sixth execution
            builder.execute("CREATE INDEX CONCURRENTLY i ON t (v)")
            builder.execute("DROP INDEX CONCURRENTLY i")
    finally:
        stop.set()
        thread.join()

    keeper = psycopg_connect()
    keeper.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT")
    builder.execute("SET statement_timeout = '500ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        builder.execute("CREATE INDEX CONCURRENTLY i ON t (v)")


def test_viewer_holds_nothing_between_two_looks(sql, conn, table, look):
    """Between two looks the viewer's session is idle, without a snapshot, a transaction or a lock."""
    list(cleanup(conn, KEY, SMALL))
    for _ in range(8):
        look()
    (row,) = sql(
        "SELECT pid, state, backend_xmin, xact_start FROM pg_stat_activity WHERE application_name = 'dupe-audit watch'"
    )
    assert ("idle", None, None) == row[1:]
    assert [] == sql(f"SELECT mode FROM pg_locks WHERE pid = {row[0]}")


def test_the_viewers_session_reads_only(connect, table):
    """A prepared session refuses to write."""
    connection = connect()
    prepare(connection)
    with pytest.raises(SQLAlchemyError, match="read-only"):
        connection.exec_driver_sql("DELETE FROM t")


def test_a_role_with_few_privileges(connect, sql, conn, table, member, holder, beside, wait_until):
    """A role that may only read the ledger sees phase, figures and pids, and which grant it lacks."""
    sql("DELETE FROM t WHERE id > 8")
    ledger.create(conn, "postgres")
    with pytest.raises(SQLAlchemyError, match="permission denied for schema dupe_audit"):
        look(connect(role=member))
    sql(f"GRANT USAGE ON SCHEMA dupe_audit TO {member}; GRANT SELECT ON ALL TABLES IN SCHEMA dupe_audit TO {member}")
    viewer = connect(role=member)
    prepare(viewer)
    holder.execute("UPDATE t SET v = v WHERE id = 1")
    beside(lambda: enforce(conn, KEY, BuildRule()))

    def first_activity():
        activity = next(iter(look(viewer).working), None)
        return activity if activity and activity.phase == "building" and activity.blockers else None

    activity = wait_until(first_activity)
    assert (True, 1, None) == (activity.hidden, activity.run.id, activity.progress.step)
    assert [(holder.info.backend_pid, None)] == [(blocker.pid, blocker.state) for blocker in activity.blockers]
    assert "pg_read_all_stats" in render_watch.line(activity)
    holder.rollback()
    sql(f"DROP OWNED BY {member}")


def test_no_row_and_no_query_is_shown(conn, sql, table, look, holder, beside, wait_until):
    """The output contains neither values of the table nor query texts, even of a blocking session."""
    holder.execute("SELECT 'secret' FROM t WHERE k = 770001 FOR UPDATE")
    thread = beside(lambda: list(cleanup(conn, KEY, SMALL)))
    wait_until(lambda: any(activity.waiting for activity in look().working))
    output = repr(render_watch.as_json(look())) + "".join(render_watch.lines(look()))
    holder.rollback()
    thread.join()
    assert "public" in output
    assert not [word for word in ("secret", "770001", "SELECT") if word in output]


def test_a_prepared_transaction_is_named(conn, sql, table, waiting, psycopg_connect, beside):
    """A prepared transaction, a blocker without a session, is named as such."""
    sql("DELETE FROM t WHERE id > 8")
    name = f"left_{time.monotonic_ns()}"
    psycopg_connect(autocommit=True).execute(
        f"BEGIN; UPDATE t SET v = v WHERE id = 1; PREPARE TRANSACTION '{name}'".encode()
    )
    thread = beside(lambda: enforce(conn, KEY, BuildRule()))
    (blocker,) = waiting("building").blockers
    sql(f"ROLLBACK PREPARED '{name}'")
    thread.join()
    assert (None, True) == (blocker.pid, "prepared transaction" in str(blocker))


def test_erased_rows_do_not_keep_a_restore_unfinished(sql, conn, look, table):
    """A run all of whose archived rows are restored or erased is not reported as unfinished."""
    list(cleanup(conn, KEY, SMALL))
    sql("UPDATE dupe_audit.run SET state = 'dropped', restored = 5, erased = 6")
    assert (1,) == look().unfinished
    sql("UPDATE dupe_audit.run SET erased = 7")
    assert () == look().unfinished
