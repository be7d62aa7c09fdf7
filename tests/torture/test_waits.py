"""While another session holds the table, the application waits for us no longer than our lock timeout."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore

pytestmark = pytest.mark.torture

KEY = UniqueKey(table="t", columns=("k",), name="uq")
SINGLE_ROWS = CleanupRule(batch_size=1)
TIMEOUT = "100ms"

#: how often each of the application's statements has to end while the lock is held
ROUNDS = 10

#: seconds until a test gives up on an event
PATIENCE = 90

READ = "SELECT count(*) FROM t"
WRITE = "UPDATE t SET v = v + 1 WHERE id = 5"
LOCK_ROWS = "SELECT FROM t WHERE id IN (2, 3, 4) FOR SHARE"
ELSEWHERE = "SELECT count(*) FROM u"  # for a holder that keeps everybody away from the table

INVALID = """
    INSERT INTO dupe_audit.run (relid, schema_name, table_name, key_columns, nulls_not_distinct, constraint_name,
                                building, state, software_version)
    VALUES ('t'::regclass, 'public', 't', '{k}', false, 'uq', true, 'clean', 'test');
    CREATE UNIQUE INDEX uq ON t (k); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq'::regclass
"""
UNIQUE = "DELETE FROM t WHERE id IN (2, 3, 4)"


@dataclass(frozen=True)
class Step:
    """A step that needs a lock, the lock in its way, and what the application does meanwhile."""

    description: str  #: as the log and the error say it
    lock: str  #: the holder's
    application: tuple[str, ...]
    work: Callable[[Connection, BuildRule], Any]
    sql: str = ""  #: executed before it begins
    before: Callable[[Connection], Any] = lambda _: None
    queued: tuple[str, ...] = ()  #: statements of the application that have to wait behind the step
    lock_timeout: str = TIMEOUT  #: the one its waiting statement has


def clean(conn: Connection, rule: BuildRule) -> None:
    """Clean, with the waits of a build's rule."""
    list(cleanup(conn, KEY, SINGLE_ROWS, lock_timeout=rule.lock_timeout, give_up_after=rule.give_up_after))


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
    """Create the constraint."""
    enforce(conn, KEY, BuildRule())


def comment(conn: Connection, rule: BuildRule) -> None:
    """Enforce a key that is already enforced, with a comment."""
    enforce(conn, KEY, BuildRule(lock_timeout=rule.lock_timeout, give_up_after=rule.give_up_after, comment="one row"))


NEW_DUPLICATES = "INSERT INTO t VALUES (2, 7, 0), (3, 7, 0), (4, 7, 0)"
STEPS = {
    "archive": Step("create the archive", "ACCESS EXCLUSIVE", (ELSEWHERE,), clean),
    "rank": Step("rank the table", "ACCESS EXCLUSIVE", (ELSEWHERE,), clean, NEW_DUPLICATES, cleaned),
    "lock rows": Step("archive extras 1 to 1", "EXCLUSIVE", (READ,), clean),
    "move rows": Step("archive extras 1 to 1", "SHARE", (READ, LOCK_ROWS), clean, queued=(LOCK_ROWS,)),
    "remove index": Step("drop the unfinished index", "ROW EXCLUSIVE", (READ, WRITE), make, UNIQUE + ";" + INVALID),
    "attach": Step("attach the index", "ACCESS SHARE", (READ, WRITE), make, UNIQUE, queued=(READ, WRITE)),
    "comment": Step("comment on constraint", "ACCESS EXCLUSIVE", (ELSEWHERE,), comment, "SELECT", enforced),
    "drop": Step(
        *("drop constraint", "ACCESS SHARE", (READ, WRITE), lambda c, r: drop(c, KEY, r), "SELECT", enforced),
        queued=(READ, WRITE),
    ),
    "restore": Step("restore archived rows", "SHARE", (READ,), put_back, "SELECT", cleaned),
}
BUILD = Step("The build of uq", "SHARE UPDATE EXCLUSIVE", (READ, WRITE), make, UNIQUE)
#: they wait without retries, for locks that stop no statement of the application
PATIENT = (BUILD, STEPS["remove index"])


@pytest.fixture
def begin(sql, conn) -> Callable[[Step], None]:
    """Create the tables as they are when a step begins."""

    def prepare(step: Step) -> None:
        sql("DROP SCHEMA IF EXISTS dupe_audit CASCADE; DROP TABLE IF EXISTS t, u")
        sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int DEFAULT 0); CREATE TABLE u (id int)")
        sql("INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 7), (5, 8)")
        ledger.create(conn, "postgres")
        if step.before is enforced:
            sql(UNIQUE)
        step.before(conn)
        sql(step.sql or "SELECT")

    return prepare


@dataclass
class Queue:
    """Looks at the locks from a session that waits for none; every wait has a limit."""

    monitor: psycopg.Connection
    ended: threading.Event = field(default_factory=threading.Event)  #: set when the step has ended

    def waits(self, pid: int, blocker: int) -> bool:
        """Return whether a backend waits for another one."""
        query = "SELECT %s = ANY (pg_blocking_pids(%s))"
        return self.monitor.execute(query, (blocker, pid)).fetchone() == (True,)

    def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; fail when the step ends before that."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert not self.ended.is_set(), "the step did not wait"
            assert time.monotonic() < deadline, "the application or the step waits until the holder ends"
            time.sleep(0.002)


@pytest.fixture
def queue(psycopg_connect) -> Queue:
    """An observer of the locks."""
    return Queue(psycopg_connect(autocommit=True))


@pytest.fixture
def held(psycopg_connect) -> Callable[..., Any]:
    """Hold a lock on the table in another session until the block ends or the session, which it gives, rolls back."""

    @contextmanager
    def hold(lock: str) -> Iterator[psycopg.Connection]:
        holder = psycopg_connect(application_name="the holder")
        holder.execute(f"LOCK TABLE t IN {lock} MODE".encode())
        yield holder
        holder.rollback()

    return hold


@dataclass
class Statement:
    """One statement of the application, which is executed again and again."""

    connection: psycopg.Connection
    text: str
    rounds: int = 0  #: how often it has ended

    @property
    def pid(self) -> int:
        """Its backend."""
        return self.connection.info.backend_pid


@pytest.fixture
def application(psycopg_connect) -> Callable[[Step], Any]:
    """Execute statements every few milliseconds beside the block, each in its own session; gives them by text."""

    @contextmanager
    def run(step: Step) -> Iterator[dict[str, Statement]]:
        stop = threading.Event()

        def work(statement: Statement) -> None:
            while not stop.wait(0.005):
                statement.connection.execute(statement.text.encode())
                statement.rounds += 1

        statements = {text: Statement(psycopg_connect(autocommit=True), text) for text in step.application}
        with ThreadPoolExecutor(len(statements)) as pool:
            futures = [pool.submit(work, statement) for statement in statements.values()]
            try:
                yield statements
            finally:
                stop.set()
        for future in futures:
            future.result()

    return run


@pytest.fixture
def lock_timeouts(conn) -> Iterator[set[str]]:
    """Collect the lock_timeout of every statement that ended because it did not get its lock."""
    collected: set[str] = set()
    current = ""

    def before(_conn, cursor, *_) -> None:
        nonlocal current
        session = cursor.connection
        if session.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
            current = session.execute("SHOW lock_timeout", prepare=False).fetchone()[0]

    def failed(context) -> None:
        if isinstance(context.original_exception, psycopg.errors.LockNotAvailable):
            collected.add(current)

    event.listen(conn.engine, "before_cursor_execute", before)
    event.listen(conn.engine, "handle_error", failed)
    yield collected
    event.remove(conn.engine, "before_cursor_execute", before)
    event.remove(conn.engine, "handle_error", failed)


def backend(conn: Connection) -> int:
    """Return the pid of a connection's backend."""
    return conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()


@contextmanager
def meanwhile(queue: Queue, holder: psycopg.Connection, watch: Callable[[], None]) -> Iterator[None]:
    """Run *watch* beside the block, and let the holder end after it; fail if *watch* does."""

    def referee() -> None:
        try:
            watch()
        finally:
            holder.rollback()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(referee)
        try:
            yield
        finally:
            queue.ended.set()
    future.result()


@pytest.mark.parametrize("step", [*STEPS.values(), BUILD], ids=[*STEPS, "build"])
@pytest.mark.representatives("archive", "lock rows", "attach", "restore")
def test_application_never_waits_until_the_holder_ends(
    conn, begin, held, application, queue, lock_timeouts, caplog, step
):
    """While a step waits for a lock, the application waits for it no longer than the lock timeout."""
    begin(step)
    caplog.set_level(logging.INFO, logger="alembic.dupe_audit")
    pid = backend(conn)
    with held(step.lock) as holder, application(step) as statements:

        def holder_is_named() -> bool:
            message = f"waiting to {step.description}", f"pid {holder.info.backend_pid} (the holder"
            return any(all(part in line for part in message) for line in caplog.messages)

        def everybody_gets_through() -> None:
            queue.until(lambda: queue.waits(pid, holder.info.backend_pid))
            if step not in PATIENT:
                queue.until(holder_is_named)
            for text in step.queued:
                queue.until(lambda text=text: queue.waits(statements[text].pid, pid))
            before = {text: statement.rounds for text, statement in statements.items()}
            for text, statement in statements.items():
                queue.until(lambda text=text, statement=statement: statement.rounds > before[text] + ROUNDS)

        with meanwhile(queue, holder, everybody_gets_through):
            step.work(conn, BuildRule(lock_timeout=TIMEOUT, give_up_after="10min"))
    assert lock_timeouts == (set() if step in PATIENT else {step.lock_timeout})


@pytest.mark.thorough
@pytest.mark.parametrize("step", [*STEPS.values(), BUILD], ids=[*STEPS, "build"])
def test_holder_that_never_ends(sql, conn, begin, held, step):
    """After the whole patience the error names the holder, nothing stays behind, and the same call completes later."""
    begin(step)
    pid = backend(conn)
    with held(step.lock) as holder:
        named = rf"pid {holder.info.backend_pid} \(the holder"
        with pytest.raises(Blocked, match=rf"(?i)(could not )?{step.description}.*{named}"):
            step.work(conn, BuildRule(lock_timeout=TIMEOUT, give_up_after="300ms"))
    locks = f"SELECT locktype, relation::regclass, mode FROM pg_locks WHERE pid = {pid} AND fastpath IS FALSE"
    assert sql(locks) == []
    assert sql("SELECT relname FROM pg_class WHERE relname ~ '^stage_'") == []
    if "unfinished" not in step.description:
        assert sql("SELECT 1 FROM pg_index WHERE indrelid = 't'::regclass AND NOT indisvalid") == []
    step.work(conn, BuildRule(lock_timeout=TIMEOUT, give_up_after="10min"))


def test_long_lock_timeout_would_be_noticed(conn, begin, held, application, queue):
    """With a lock timeout of a minute no statement gets through before the holder ends."""
    step = STEPS["attach"]
    begin(step)
    pid = backend(conn)
    rounds: list[list[int]] = []
    with held(step.lock) as holder, application(step) as statements:

        def nobody_gets_through() -> None:
            queue.until(lambda: queue.waits(pid, holder.info.backend_pid))
            for statement in statements.values():
                queue.until(lambda statement=statement: queue.waits(statement.pid, pid))
            for seconds in (0.3, 0):  # three times what the other test lets the application wait
                rounds.append([statement.rounds for statement in statements.values()])
                time.sleep(seconds)

        with meanwhile(queue, holder, nobody_gets_through):
            step.work(conn, BuildRule(lock_timeout="60s", give_up_after="10min"))
    assert rounds[0] == rounds[1]
