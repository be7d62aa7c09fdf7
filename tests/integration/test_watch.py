"""A look from beside says what runs, how far it is and who blocks it, and holds nobody up."""

import threading
import time
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy.exc import SQLAlchemyError

from dupe_audit import ledger, progress, render_watch
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore
from dupe_audit.session import at_work
from dupe_audit.watched import Seen

KEY = UniqueKey(table="t", columns=("k",), name="uq")
SMALL = CleanupRule(batch_size=3)


@pytest.fixture
def table(sql):
    """A table of eight keys and twelve extras, with something to hide in it."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text)")
    sql("INSERT INTO t SELECT i, i % 8 + 770000, 'secret' FROM generate_series(1, 20) AS i")


@pytest.fixture
def look(connect):
    """Look from a connection of its own, as the command does."""
    connection = connect()
    progress.prepare(connection)
    return lambda memory=None: progress.look(connection, memory)


@pytest.fixture
def only(look):
    """Look, and return the one table at which somebody works, or one at which nobody does yet."""

    def one():
        (seen,) = look().working or [Seen(schema="", table="")]
        return seen

    return one


@pytest.fixture
def holder(psycopg_connect):
    """A session of the application that holds what it is told to hold."""
    return psycopg_connect(application_name="report")


@pytest.fixture
def beside(holder):
    """Run a step in a thread of its own, which ends at the latest when nobody holds anything any more."""
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


def blocked_by(seen, holder, lock=None):
    """Tell whether the work waits for that session and no other."""
    (blocker,) = seen.blockers
    return (holder.info.backend_pid, "report", "idle in transaction", lock) == (
        *(blocker.pid, blocker.name, blocker.state),
        blocker.lock if lock else None,
    )


# What runs


def test_without_a_ledger(look):
    """A database in which nothing was ever cleaned is no error."""
    view = look()
    assert (False, (), (), ()) == (view.ledger, view.working, view.stalled, view.resting)
    assert [render_watch.NO_LEDGER] == render_watch.lines(view)


def test_a_cleanup_is_counted_from_batch_to_batch(conn, table, look, only):
    """The extras archived grow with each batch, speed and time left come with the second, and the end is told."""
    batches, seen = cleanup(conn, KEY, SMALL), []
    for _ in range(3):
        next(batches)
        seen.append(only())
    assert ["cleaning"] * 3 == [one.phase for one in seen]
    assert [(3, 12, "extras"), (6, 12, "extras"), (9, 12, "extras")] == [
        (one.progress.done, one.progress.total, one.progress.unit) for one in seen
    ]
    assert seen[0].progress.eta is None
    assert seen[2].progress.rate > 0
    assert seen[2].progress.eta == pytest.approx(3 / seen[2].progress.rate)
    assert not any(one.waiting or one.hidden or one.stalled for one in seen)

    list(batches)
    view = look()
    assert ((), ()) == (view.working, view.stalled)
    assert ("clean", 12) == (view.resting[0].run.state, view.resting[0].run.archived)


def test_ranking_is_told(conn, table, only, holder, beside, wait_until):
    """Before the first batch the table is being ranked, and who keeps it locked is named with the lock."""
    ledger.create(conn, "postgres")
    holder.execute("LOCK TABLE t")
    beside(lambda: list(cleanup(conn, KEY, SMALL)))
    wait_until(lambda: only().waiting)
    # The archive is made like the table, so that waits too; no run is open yet.
    assert (only().phase, blocked_by(only(), holder)) == ("preparing", True)
    holder.rollback()


def test_rows_that_are_locked_are_told(conn, table, only, holder, beside, wait_until):
    """A cleanup that skips locked rows, pass after pass, waits for whoever has them, and claims no speed."""
    holder.execute("SELECT FROM t WHERE id > 8 FOR UPDATE")
    thread = beside(lambda: list(cleanup(conn, KEY, SMALL)))
    wait_until(lambda: only().waiting)
    seen = only()
    assert ("cleaning", 0, 12, None) == (seen.phase, seen.progress.done, seen.progress.total, seen.progress.rate)
    assert blocked_by(seen, holder, "RowShareLock")
    holder.rollback()
    thread.join()


@pytest.mark.parametrize(
    ("held", "step"),
    [
        ("UPDATE t SET v = v WHERE id = 1", "waiting for writers before build"),
        ("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE", "waiting for the table"),
    ],
)
def test_a_build_that_waits_is_told(conn, sql, table, only, holder, beside, wait_until, held, step):
    """A build has PostgreSQL's own phase and names the transaction for which it waits."""
    sql("DELETE FROM t WHERE id > 8")
    holder.execute(held)
    beside(lambda: enforce(conn, KEY, BuildRule()))
    wait_until(lambda: only().phase == "building" and only().waiting)
    seen = only()
    assert (step, "uq", None) == (seen.progress.step, seen.run.constraint, seen.progress.eta)
    assert blocked_by(seen, holder)
    holder.rollback()


TOASTED = """
CREATE TABLE t (id int PRIMARY KEY, k text, v text);
ALTER TABLE t ALTER k SET STORAGE EXTERNAL;
INSERT INTO t SELECT i, CASE WHEN i IN (1000, 3000) THEN repeat(md5(i::text), 80) ELSE md5(i::text) END,
                     repeat('x', 300) FROM generate_series(1, 4000) AS i
"""
INDEX = (
    "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class t ON t.reltoastrelid = indrelid WHERE relname = 't'"
)
ASKED = "SELECT 1 FROM pg_locks WHERE relation = '{}'::regclass AND mode = '{}' AND NOT granted"


def test_a_build_is_counted(conn, sql, look, holder, beside, psycopg_connect, wait_until):
    """The blocks of a table that is scanned grow from look to look, and give a speed and a time left."""
    # Two keys are so long that they are stored elsewhere, where the scan can be held up when it comes to one.
    sql(TOASTED)
    index = sql(INDEX)[0][0]
    hold = f"REINDEX INDEX {index}".encode()
    holder.execute(hold)
    beside(lambda: enforce(conn, KEY, BuildRule()))
    wait_until(lambda: sql(ASKED.format(index, "AccessShareLock")))
    memory, counted = progress.Memory(), []
    counted += [work.progress for work in look(memory).working]

    with psycopg_connect() as second:
        thread = threading.Thread(target=second.execute, args=[hold])
        thread.start()
        wait_until(lambda: sql(ASKED.format(index, "AccessExclusiveLock")))
        holder.rollback()
        thread.join()
        wait_until(lambda: sql(ASKED.format(index, "AccessShareLock")))
        counted += [work.progress for work in look(memory).working]
        second.rollback()

    assert [("blocks", "building index: scanning table")] * 2 == [(scan.unit, scan.step) for scan in counted]
    first, last = counted
    assert first.done < last.done < last.total
    assert last.rate > 0
    assert last.eta is not None


def test_attaching_and_dropping_are_told(conn, sql, table, only, look, holder, beside, wait_until, monkeypatch):
    """The two moments that need the table alone name who has it."""
    sql("DELETE FROM t WHERE id > 8")
    holder.execute("SELECT FROM t")
    thread = beside(lambda: enforce(conn, KEY, BuildRule()))
    wait_until(lambda: only().phase == "attaching")
    assert blocked_by(only(), holder, "AccessShareLock")
    holder.rollback()
    thread.join()

    ledger.mark_enforced(conn, 1, "uq")
    holder.execute("SELECT FROM t")
    memory, stay, stepped_back, go_on = progress.Memory(), *(threading.Event() for _ in range(3))

    def rest(_seconds):
        if stay.is_set():
            stepped_back.set()
            go_on.wait()

    monkeypatch.setattr("dupe_audit.session.rest", rest)
    thread = beside(lambda: drop(conn, KEY, BuildRule()))
    wait_until(lambda: ["dropping"] == [work.phase for work in look(memory).working])
    stay.set()
    wait_until(stepped_back.is_set)
    (seen,) = look(memory).working  # it has stepped back and asks for nothing
    assert ("dropping", True) == (seen.phase, blocked_by(seen, holder, "AccessShareLock"))
    holder.rollback()
    go_on.set()
    thread.join()


def test_verifying_is_told_apart_from_a_run_that_was_left(conn, sql, table, look, only):
    """While a directive proves its constraint nobody has the run lock, and yet the run is not unfinished."""
    sql("DELETE FROM t WHERE id > 8")
    enforce(conn, KEY, BuildRule())
    (left,) = look().stalled
    assert ("uq", "Run: alembic upgrade head") == (left.run.constraint, left.help)

    with at_work(conn, sql("SELECT 't'::regclass::oid::int8")[0][0]):
        assert ("verifying", ()) == (only().phase, look().stalled)
    assert look().stalled


def test_a_restore_is_counted(conn, table, look, only):
    """The way back is counted too; stopped half way it is unfinished, and at its end it is restored."""
    list(cleanup(conn, KEY, SMALL))
    drop(conn, KEY, BuildRule())
    rows = restore(conn, 1, batch_size=4)
    next(rows)
    next(rows)
    seen = only()
    assert ("restoring", 8, 12, "rows") == (seen.phase, seen.progress.done, seen.progress.total, seen.progress.unit)
    rows.close()
    (left,) = look().stalled
    assert "dupe-audit restore 1" in left.help
    list(restore(conn, 1))
    assert ("restored", 12) == (look().resting[0].run.state, look().resting[0].run.restored)


def test_two_tables_at_once(connect, sql, table, look):
    """Each table at which somebody works has its own place, and one that is left does not hide the other."""
    sql("CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u TABLE t")
    first = cleanup(connect(), KEY, SMALL)
    second = cleanup(connect(), UniqueKey(table="u", columns=("k",)), SMALL)
    next(first)
    next(second)
    assert {("t", 1), ("u", 2)} == {(one.table, one.run.id) for one in look().working}
    first.close()
    view = look()
    assert (["u"], ["t"]) == ([one.table for one in view.working], [one.table for one in view.stalled])
    second.close()


def test_an_index_that_somebody_builds_by_hand(conn, sql, table, only, holder, beside, wait_until, look):
    """A build outside of any run is shown without one, and leaves an unfinished run of the table what it is."""
    batches = cleanup(conn, KEY, SMALL)
    next(batches)
    batches.close()
    holder.execute("UPDATE t SET v = v WHERE id = 1")
    beside(lambda: conn.exec_driver_sql("CREATE INDEX CONCURRENTLY other ON t (v)"))
    wait_until(lambda: look().working)
    seen = only()
    assert ("t", None, "building", True) == (seen.table, seen.run, seen.phase, blocked_by(seen, holder))
    assert [1] == [one.run.id for one in look().stalled]
    holder.rollback()


# What stands unfinished


def test_a_cleanup_that_was_left_is_unfinished(conn, table, look):
    """A run without anybody is unfinished, with the way out; purged, or with its table gone, it is not."""
    batches = cleanup(conn, KEY, SMALL)
    next(batches)
    batches.close()
    (left,) = look().stalled
    assert (None, "cleaning", "Run: alembic upgrade head") == (left.phase, left.run.state, left.help)
    assert "UNFINISHED" in render_watch.line(left)

    conn.exec_driver_sql("DROP TABLE t")
    assert () == look().stalled


def test_a_run_that_was_refused_is_unfinished(conn, sql, table, look):
    """What a pass refused is told with where to read why."""
    sql("UPDATE t SET v = id::text")
    with pytest.raises(Refused):
        list(cleanup(conn, KEY, SMALL))
    (left,) = look().stalled
    assert "failed" == left.run.state
    assert "dupe-audit preflight says why" in left.help
    ledger.purge(conn, 1)
    assert () == look().stalled


# Whom it disturbs, and what it may not see


def test_looking_holds_no_build_up(psycopg_connect, sql, table, conn, look):
    """A build ends while somebody looks all the time, whereas one snapshot that is kept stops it."""
    list(cleanup(conn, KEY, SMALL))
    builder, stop, looks = psycopg_connect(autocommit=True), threading.Event(), []

    def go_on():
        while not stop.is_set():
            looks.append(look())

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        builder.execute("SET statement_timeout = '2min'")
        while len(looks) < 12:  # psycopg would prepare a statement at its sixth run
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


def test_between_two_looks_nothing_is_held(sql, conn, table, look):
    """The viewer's session is idle, without a snapshot, a transaction or a lock, and can write nothing."""
    list(cleanup(conn, KEY, SMALL))
    for _ in range(8):
        look()
    (row,) = sql(
        "SELECT pid, state, backend_xmin, xact_start FROM pg_stat_activity WHERE application_name = 'dupe-audit watch'"
    )
    assert ("idle", None, None) == row[1:]
    assert [] == sql(f"SELECT mode FROM pg_locks WHERE pid = {row[0]}")


def test_the_viewers_session_reads_only(connect, table):
    """What prepares the session makes it refuse to write."""
    connection = connect()
    progress.prepare(connection)
    with pytest.raises(SQLAlchemyError, match="read-only"):
        connection.exec_driver_sql("DELETE FROM t")


def test_a_role_that_sees_little(connect, sql, conn, table, member, holder, beside, wait_until):
    """A role that may only read the ledger sees phase, figures and pids, and is told what is hidden from it."""
    sql("DELETE FROM t WHERE id > 8")
    ledger.create(conn, "postgres")
    with pytest.raises(SQLAlchemyError, match="permission denied for schema dupe_audit"):
        progress.look(connect(role=member))
    sql(f"GRANT USAGE ON SCHEMA dupe_audit TO {member}; GRANT SELECT ON ALL TABLES IN SCHEMA dupe_audit TO {member}")
    viewer = connect(role=member)
    progress.prepare(viewer)
    holder.execute("UPDATE t SET v = v WHERE id = 1")
    beside(lambda: enforce(conn, KEY, BuildRule()))

    def seen():
        return next(iter(progress.look(viewer).working), None)

    wait_until(lambda: seen() and seen().phase == "building" and seen().blockers)
    one = seen()
    assert (True, 1, None) == (one.hidden, one.run.id, one.progress.step)
    assert [(holder.info.backend_pid, None)] == [(blocker.pid, blocker.state) for blocker in one.blockers]
    assert "pg_read_all_stats" in render_watch.line(one)
    holder.rollback()
    sql(f"DROP OWNED BY {member}")


def test_no_row_and_no_query_is_told(conn, sql, table, look, holder, beside, wait_until):
    """Neither values of the table nor texts of queries are in what is told, whoever blocks."""
    holder.execute("SELECT 'secret' FROM t WHERE k = 770001 FOR UPDATE")
    thread = beside(lambda: list(cleanup(conn, KEY, SMALL)))
    wait_until(lambda: any(one.waiting for one in look().working))
    told = repr(render_watch.as_json(look())) + "".join(render_watch.lines(look()))
    holder.rollback()
    thread.join()
    assert "public" in told
    assert not [word for word in ("secret", "770001", "SELECT") if word in told]


def test_a_prepared_transaction_is_named(conn, sql, table, only, psycopg_connect, beside, wait_until):
    """A blocker without a session is told as what it is."""
    sql("DELETE FROM t WHERE id > 8")
    name = f"left_{time.monotonic_ns()}"
    psycopg_connect(autocommit=True).execute(
        f"BEGIN; UPDATE t SET v = v WHERE id = 1; PREPARE TRANSACTION '{name}'".encode()
    )
    thread = beside(lambda: enforce(conn, KEY, BuildRule()))
    wait_until(lambda: only().phase == "building" and only().blockers)
    (blocker,) = only().blockers
    sql(f"ROLLBACK PREPARED '{name}'")
    thread.join()
    assert (None, True) == (blocker.pid, "prepared transaction" in str(blocker))
