"""Whoever holds the table: the application waits for us no longer than our lock timeout, and hears who it is about."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore

pytestmark = pytest.mark.torture

KEY = UniqueKey(table="t", columns=("k",), name="uq")
ONE_BY_ONE = CleanupRule(batch_size=1)
TIMEOUT = 0.3
HOLD = 2.5
#: seconds; between what we may cost (TIMEOUT) and what we would cost if the application waited until the holder ends
LIMIT = 1.4

READ = "SELECT count(*) FROM t"
WRITE = "UPDATE t SET v = v + 1 WHERE id = 5"
LOCK_ROWS = "SELECT FROM t WHERE id IN (2, 3, 4) FOR SHARE"
ELSEWHERE = "SELECT count(*) FROM u"  # where the holder lets nobody else at the table

INVALID = """
    INSERT INTO dupe_audit.run (relid, schema_name, table_name, key_columns, nulls_not_distinct, constraint_name,
                                building, state, software_version)
    VALUES ('t'::regclass, 'public', 't', '{k}', false, 'uq', true, 'clean', 'test');
    CREATE UNIQUE INDEX uq ON t (k); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq'::regclass
"""
UNIQUE = "DELETE FROM t WHERE id IN (2, 3, 4)"


@dataclass(frozen=True)
class Step:
    """A step that needs a lock, who is in its way, and what the application does meanwhile."""

    what: str  #: how the software calls it
    lock: str  #: the holder's
    application: tuple[str, ...]
    work: Callable[[Connection, BuildRule], Any]
    sql: str = ""  #: how things are when it begins
    before: Callable[[Connection], Any] = lambda _: None


def clean(conn: Connection, rule: BuildRule) -> None:
    """Clean, with the waits of a build's rule."""
    list(cleanup(conn, KEY, ONE_BY_ONE, lock_timeout=rule.lock_timeout, give_up_after=rule.give_up_after))


def put_back(conn: Connection, rule: BuildRule) -> None:
    """Restore, with the waits of a build's rule."""
    list(restore(conn, 1, lock_timeout=rule.lock_timeout, give_up_after=rule.give_up_after))


def make(conn: Connection, rule: BuildRule) -> None:
    """Enforce the key."""
    enforce(conn, KEY, rule)


def cleaned(conn: Connection) -> None:
    """Clean once, so that there is an archive."""
    list(cleanup(conn, KEY, CleanupRule()))


def enforced(conn: Connection) -> None:
    """Make the constraint."""
    enforce(conn, KEY, BuildRule())


def comment(conn: Connection, rule: BuildRule) -> None:
    """Enforce what is enforced, with a comment."""
    enforce(conn, KEY, BuildRule(lock_timeout=rule.lock_timeout, give_up_after=rule.give_up_after, comment="one row"))


AGAIN = "INSERT INTO t VALUES (2, 7, 0), (3, 7, 0), (4, 7, 0)"
STEPS = {
    "archive": Step("make the archive", "ACCESS EXCLUSIVE", (ELSEWHERE,), clean),
    "rank": Step("rank the table", "ACCESS EXCLUSIVE", (ELSEWHERE,), clean, AGAIN, cleaned),
    "lock rows": Step("archive extras 1 to 1", "EXCLUSIVE", (READ,), clean),
    "move rows": Step("archive extras 1 to 1", "SHARE", (READ, LOCK_ROWS), clean),
    "remove index": Step("drop the unfinished index", "ROW EXCLUSIVE", (READ, WRITE), make, UNIQUE + ";" + INVALID),
    "attach": Step("attach the index", "ACCESS SHARE", (READ, WRITE), make, UNIQUE),
    "comment": Step("comment on constraint", "ACCESS EXCLUSIVE", (ELSEWHERE,), comment, "SELECT", enforced),
    "drop": Step("drop constraint", "ACCESS SHARE", (READ, WRITE), lambda c, r: drop(c, KEY, r), "SELECT", enforced),
    "restore": Step("restore archived rows", "SHARE", (READ,), put_back, "SELECT", cleaned),
}
BUILD = Step("The build of uq", "SHARE UPDATE EXCLUSIVE", (READ, WRITE), make, UNIQUE)
#: they wait without trying again and again, for locks that stop no statement of the application
PATIENT = (BUILD, STEPS["remove index"])


@pytest.fixture
def begin(sql, conn) -> Callable[[Step], None]:
    """Make the tables as they are when a step begins."""

    def run(step: Step) -> None:
        sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int DEFAULT 0); CREATE TABLE u (id int)")
        sql("INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 7), (5, 8)")
        ledger.create(conn, "postgres")
        if step.before is enforced:
            sql(UNIQUE)
        step.before(conn)
        sql(step.sql or "SELECT")

    return run


@pytest.fixture
def held(psycopg_connect) -> Callable[..., Any]:
    """Hold a lock on the table from another session, for a while or until the block ends; gives the session's pid."""

    @contextmanager
    def hold(lock: str, seconds: float | None = None) -> Iterator[int]:
        holder = psycopg_connect(application_name="the holder")
        holder.execute(f"LOCK TABLE t IN {lock} MODE".encode())
        timer = threading.Timer(seconds or 60, holder.rollback)
        timer.start()
        try:
            yield holder.info.backend_pid
        finally:
            timer.cancel()
            timer.join()
            holder.rollback()

    return hold


@pytest.fixture
def application(psycopg_connect) -> Callable[[tuple[str, ...]], Any]:
    """Run statements every few milliseconds beside the block; gives the list of how long each took."""

    @contextmanager
    def run(statements: tuple[str, ...]) -> Iterator[list[float]]:
        took: list[float] = []
        stop = threading.Event()

        def work(connection: psycopg.Connection, statement: str) -> None:
            while not stop.wait(0.005):
                started = time.monotonic()
                connection.execute(statement.encode())
                took.append(time.monotonic() - started)

        threads = [threading.Thread(target=work, args=(psycopg_connect(autocommit=True), s)) for s in statements]
        for thread in threads:
            thread.start()
        try:
            yield took
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    return run


@pytest.mark.parametrize("step", [*STEPS.values(), BUILD], ids=[*STEPS, "build"])
def test_application_never_waits_until_the_holder_ends(conn, begin, held, application, caplog, step):
    """While a step waits for a lock, the application waits for it no longer than the lock timeout."""
    begin(step)
    caplog.set_level(logging.INFO, logger="alembic.dupe_audit")
    started = time.monotonic()
    with held(step.lock, HOLD) as pid, application(step.application) as took:
        step.work(conn, BuildRule(lock_timeout=f"{TIMEOUT}s", give_up_after="30s"))
    assert time.monotonic() - started > HOLD  # it did wait
    assert len(took) > 50
    assert max(took) < LIMIT
    if step not in PATIENT:
        assert any(f"waiting to {step.what}" in m and f"pid {pid} (the holder" in m for m in caplog.messages)


@pytest.mark.parametrize("step", [*STEPS.values(), BUILD], ids=[*STEPS, "build"])
def test_holder_that_never_ends(sql, conn, begin, held, step):
    """After the whole patience the error names the holder, nothing stays behind, and the same call completes later."""
    begin(step)
    mine = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with (
        held(step.lock) as pid,
        pytest.raises(Blocked, match=rf"(?i)(could not )?{step.what}.*pid {pid} \(the holder"),
    ):
        step.work(conn, BuildRule(lock_timeout="100ms", give_up_after="600ms"))
    assert (
        sql(f"SELECT locktype, relation::regclass, mode FROM pg_locks WHERE pid = {mine} AND fastpath IS FALSE") == []
    )
    assert sql("SELECT relname FROM pg_class WHERE relname ~ '^stage_'") == []
    if "unfinished" not in step.what:
        assert sql("SELECT 1 FROM pg_index WHERE indrelid = 't'::regclass AND NOT indisvalid") == []
    step.work(conn, BuildRule(lock_timeout="100ms", give_up_after="30s"))


def test_long_lock_timeout_would_be_noticed(conn, begin, held, application):
    """With a lock timeout of a minute the application does wait until the holder ends: the limit tells them apart."""
    step = STEPS["attach"]
    begin(step)
    with held(step.lock, HOLD), application(step.application) as took:
        step.work(conn, BuildRule(lock_timeout="60s", give_up_after="2min"))
    assert max(took) > LIMIT
