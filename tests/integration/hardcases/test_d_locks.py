"""Hard cases D: what the steps lock, and who has to wait."""

import pytest
from sqlalchemy import event

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import blockers, preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify

KEY = UniqueKey(table="t", columns=("k",), name="uq")
TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 100) AS i"
HARMLESS = {"AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock"}


def test_h80_no_lock_that_blocks_the_application_outlives_its_statement(sql, conn):
    """After no statement of any step do we hold a lock that makes readers or writers of the table wait."""
    sql(TABLE)
    pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    strong = set()

    def look(_connection, _cursor, statement, *_rest):
        modes = sql(f"SELECT mode FROM pg_locks WHERE relation = 't'::regclass AND pid = {pid} AND granted")
        strong.update((statement.split(" ")[0:4][-1], mode) for (mode,) in modes if mode not in HARMLESS)

    event.listen(conn, "after_cursor_execute", look)
    preflight(conn, KEY)
    blockers(conn, KEY, CleanupRule())
    list(cleanup(conn, KEY, CleanupRule(batch_size=10)))
    assert set() == strong
    enforce(conn, KEY, BuildRule())
    verify(conn, KEY)
    drop(conn, KEY, BuildRule())
    assert set() == strong
    strong.clear()
    list(restore(conn, 1))
    event.remove(conn, "after_cursor_execute", look)
    assert set() == strong


def test_h75_drop_lets_the_application_through_between_attempts(sql, conn, psycopg_connect, wait_until, beside):
    """While a reader is open, the drop gives way after each attempt, so no session waits longer than lock_timeout."""
    sql(TABLE)
    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())
    reader, application = psycopg_connect(), psycopg_connect(autocommit=True)
    reader.execute("SELECT count(*) FROM t")
    tries, through = [], []

    def note(connection, _cursor, statement, *_rest):
        if "DROP CONSTRAINT" in statement:
            cursor = connection.connection.cursor()  # not through SQLAlchemy, which would call this again
            tries.append(cursor.execute("SHOW lock_timeout").fetchone()[0])

    def work():
        """Change a row in each of three attempts, which waits until the attempt is over; then end the reader."""
        for _ in range(3):
            begun = len(tries)
            wait_until(lambda begun=begun: len(tries) > begun)
            application.execute("UPDATE t SET k = k WHERE id = 1")
            through.append(len(tries))
        reader.rollback()

    event.listen(conn, "before_cursor_execute", note)
    with pytest.raises(Blocked, match=rf"pid {reader.info.backend_pid}\b"):
        drop(conn, KEY, BuildRule(lock_timeout="100ms", give_up_after="300ms"))
    thread = beside(work)
    drop(conn, KEY, BuildRule(lock_timeout="100ms", give_up_after="5min"))
    thread.join()
    event.remove(conn, "before_cursor_execute", note)
    assert {"100ms"} == set(tries)
    assert 3 == len(through)
