"""A client that is frozen at any moment, as by SIGSTOP or a paused machine, keeps no lock for long."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked
from dupe_audit.model import BuildRule, UniqueKey
from dupe_audit.postgres.session import step, transaction
from waiting import PATIENCE

pytestmark = pytest.mark.torture

KEY = UniqueKey(table="t", columns=("k",), name="uq")

#: freezes the client right after it has sent, one after the other, statements that begin with these texts
FREEZE = """
import os, signal
from sqlalchemy import event
from dupe_audit.cleanup import clean_held
from dupe_audit.constraint import drop, window
window.HELD_IDLE_LIMIT = "4s"  # a quarter of a second is what a busy machine can take between two statements
texts = {texts!r}
def freeze(_conn, _cursor, sent, *_):
    if texts and sent.lstrip().startswith(texts[0]):
        del texts[0]
        if not texts:
            os.kill(os.getpid(), signal.SIGSTOP)
event.listen(conn, "after_cursor_execute", freeze)
key = UniqueKey(table="t", columns=("k",), name="uq")
"""
ENFORCE = "enforce(conn, key, BuildRule(comment='one row per k'))"
DROP = "drop(conn, key, BuildRule())"
CLEAN = "list(cleanup(conn, key, CleanupRule()))"
#: a duplicate arrives after each cleaning, so the first build fails, and the second holds the writers
HOLD = """
def clean_again():
    moved = sum(batch.archived for batch in cleanup(conn, key, CleanupRule()))
    conn.exec_driver_sql("INSERT INTO t SELECT max(id) + 1, 1 FROM t")
    return moved
clean_again()
held = lambda: clean_held(conn, key, CleanupRule())
enforce(conn, key, BuildRule(lock_timeout="1min", build_attempts=1), clean_again=clean_again, clean_held=held)
"""


@pytest.fixture
def table(sql):
    """A table of five keys without duplicates."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    sql("INSERT INTO t SELECT i, i FROM generate_series(1, 5) AS i")


@pytest.fixture
def frozen(client, wait_until) -> Callable[..., object]:
    """Start a program and wait until it is frozen at a statement; continue it when the block ends."""

    @contextmanager
    def freeze(program: str, *texts: str) -> Iterator[object]:
        process = client(FREEZE.format(texts=list(texts)) + program)

        def stopped() -> bool:
            assert process.poll() is None, process.communicate()
            return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

        wait_until(stopped)
        try:
            yield process
        finally:
            os.kill(process.pid, signal.SIGCONT)
        process.error = process.communicate(timeout=PATIENCE)[1]

    return freeze


def strong_locks(sql) -> list[str]:
    """Return the locks on the table that block a read or a write, of sessions other than the test's."""
    modes = "'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'"
    return [row[0] for row in sql(f"SELECT mode FROM pg_locks WHERE relation = 't'::regclass AND mode IN ({modes})")]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the state of a process is read from /proc")
@pytest.mark.parametrize(
    ("program", "text"),
    [
        (ENFORCE, "ALTER TABLE"),
        (ENFORCE, "COMMENT ON"),
        (ENFORCE + "\n" + DROP, "DO "),
    ],
    ids=["attach", "comment", "drop"],
)
@pytest.mark.representatives("attach")
def test_client_that_freezes_after_a_strong_statement_holds_nothing(sql, table, frozen, program, text):
    """A client that is frozen right after it has sent a statement with a strong lock holds none, and then continues."""
    with frozen(program, text) as process:
        assert [] == strong_locks(sql)
        sql("SET statement_timeout = '30s'; UPDATE t SET k = k; SELECT * FROM t")
    assert 0 == process.returncode, process.error
    expected = [] if "drop(" in program else [("UNIQUE (k)",)]
    assert expected == sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'uq'")


@pytest.mark.parametrize("text", ["", "CREATE UNLOGGED", "WITH judged", "CREATE UNIQUE INDEX"])
@pytest.mark.representatives("WITH judged")
def test_client_that_freezes_while_it_holds_the_writers(sql, conn, table, frozen, text):
    """A client that is frozen while it holds the writers loses them, by the server's limit for a silent client."""
    with frozen(HOLD, "LOCK TABLE", *([text] if text else [])) as process:
        frozen_at = time.monotonic()
        sql("SET statement_timeout = '30s'; UPDATE t SET k = k WHERE id = 2")
        waited = time.monotonic() - frozen_at
        assert [] == strong_locks(sql)
    assert process.returncode
    assert "idle-in-transaction timeout" in process.error
    # The limit is 4 s here; the rest is for a machine that is busy. tests/torture/test_freeze_points.py tries 0.25 s.
    assert waited < 20
    assert [] == sql("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('uq')")
    # What the transaction archived is in the table again.
    assert [(6, 1)] == sql("SELECT count(*), (SELECT archived FROM dupe_audit.run) FROM t")


@pytest.mark.parametrize("text", ["INSERT INTO pg_temp.dupe_audit_locked", "WITH judged"])
@pytest.mark.thorough
def test_client_that_freezes_in_a_batch_holds_its_rows_no_longer_than_the_server_allows(
    sql, table, frozen, database_url, text
):
    """A client that is frozen in a batch loses its row locks by the server's limit, and no row moves."""
    sql("INSERT INTO t VALUES (6, 5)")
    name = sql("SELECT current_database()")[0][0]
    sql(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '4s'")
    with frozen(CLEAN, text) as process:
        sql("SET statement_timeout = '30s'; UPDATE t SET k = k WHERE id = 6")
    assert process.returncode
    assert [(6,)] == sql("SELECT count(*) FROM t")
    assert [(0,)] == sql("SELECT archived FROM dupe_audit.run")


def test_idle_limit_is_finite_and_never_longer_than_the_databases_own(connect, table):
    """Every transaction of ours has a limit for a silent client: 5 s, or the shorter one of the role or database."""
    show = "SHOW idle_in_transaction_session_timeout"
    for own, expected in (("0", "5s"), ("4s", "4s"), ("4500ms", "4500ms"), ("1h", "5s"), ("5001", "5s")):
        connection = connect(idle_in_transaction_session_timeout=own)
        before = connection.exec_driver_sql(show).scalar_one()
        with step(connection), transaction(connection):
            assert expected == connection.exec_driver_sql(show).scalar_one()
        assert before == connection.exec_driver_sql(show).scalar_one()
        connection.close()


@pytest.fixture
def absent_standby(server, sql) -> Iterator[None]:
    """Let every commit wait for a synchronous standby that does not exist, except in the test's own session."""

    def set_(statement: str, expected: str) -> None:
        sql(statement)
        sql("SELECT pg_reload_conf()")
        while sql("SHOW synchronous_standby_names") != [(expected,)]:
            time.sleep(0.02)

    sql("SET synchronous_commit = local")
    set_("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "nobody")
    try:
        yield
    finally:
        set_("ALTER SYSTEM RESET synchronous_standby_names", "")


def test_attach_and_drop_do_not_wait_for_a_standby(request, sql, conn, table, psycopg_connect, wait_until):
    """With a synchronous standby that is away, the attach and the drop commit at once, and no read waits for them."""
    reader = psycopg_connect()
    reader.execute("SELECT FROM t")
    with pytest.raises(Blocked):
        enforce(conn, KEY, BuildRule(lock_timeout="50ms", give_up_after="100ms"))
    reader.rollback()
    request.getfixturevalue("absent_standby")
    sql("SET statement_timeout = '20s'")
    signal.alarm(60)
    enforce(conn, KEY, BuildRule())
    assert 5 == len(sql("SELECT * FROM t"))
    assert [("UNIQUE (k)",)] == sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'uq'")
    drop(conn, KEY, BuildRule())
    assert 5 == len(sql("SELECT * FROM t"))
    assert [] == sql("SELECT 1 FROM pg_constraint WHERE conname = 'uq'")
