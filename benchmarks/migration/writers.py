"""The application: eight writers at a fixed rate, each in its own process, and how long each write took."""

from __future__ import annotations

import itertools
import multiprocessing
import queue
import random
import threading
import time
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from typing import Self

import psycopg

from migration.table import NAME, GroupedRow

RATE = 20  #: writes per second and writer
PROFILES = ("own", "own", "own", "own", "own", "grouped", "grouped", "repeated")
INSERT = """
INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at)
VALUES (coalesce(%s, gen_random_uuid()), %s, 'tool_call', coalesce(%s, 'Read'), coalesce(%s, clock_timestamp()))
RETURNING id, correlation_id, action_name, created_at
"""
UPDATE = "UPDATE agent_actions SET duration_ms = %s WHERE id = %s"
SELECT = "SELECT 1 FROM agent_actions WHERE correlation_id = %s AND action_name = %s AND created_at = %s"
KEYS = 1000  #: keys of existing rows that are delivered again
NEW = (None, None, None)  #: a key that no row has
START_LIMIT = 180  #: seconds
STOPPED = "stopped, because another writer failed"


class WriterError(Exception):
    """A writer got an error that it should not get in any of the ways."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one writer does: on which database, by which profile, with which number and seed."""

    url: str
    profile: str
    number: int
    seed: int


@dataclass(slots=True)
class Account:
    """What one writer did: when each write was due and when it ended, and how many the unique index rejected."""

    profile: str
    times: list[tuple[float, float]] = field(default_factory=list)
    rejected: int = 0
    error: str | None = None


class Writers:
    """The processes, which wait for ``start`` when they have connected; a context manager that ends them."""

    def __init__(self, url: str, rows: Sequence[GroupedRow], seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ready: Barrier = context.Barrier(len(PROFILES) + 1)
        self._until: Synchronized[float] = context.Value("d", float("inf"))
        self._dues = context.Array("d", [float("-inf")] * len(PROFILES), lock=False)
        self._accounts: Queue[Account] = context.Queue()
        # Rows are not passed as an argument: the start of a process would wait until it has read them.
        self._inboxes: list[Queue[Sequence[GroupedRow]]] = [context.Queue() for _ in PROFILES]
        self._processes = []
        for number, share in enumerate(shares(rows)):
            self._inboxes[number].put(share)
            task, inbox = Task(url, PROFILES[number], number, seed), self._inboxes[number]
            arguments = (task, inbox, self._ready, self._until, self._dues, self._accounts)
            self._processes.append(context.Process(target=work, args=arguments, daemon=True))
            self._processes[-1].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def start(self) -> None:
        """Let the writers begin, as soon as all are connected.

        Raises:
            WriterError: one of them could not connect.
        """
        try:
            self._ready.wait(timeout=START_LIMIT)
        except threading.BrokenBarrierError:
            self.stop()
            raise WriterError(f"The writers did not start within {START_LIMIT} seconds.") from None

    def settle(self) -> None:
        """Wait until no writer is late, so that no way starts with a backlog.

        Raises:
            WriterError: they cannot keep up with their rate.
        """
        limit = time.monotonic() + START_LIMIT
        while time.monotonic() - min(self._dues) > 1 / RATE:
            if time.monotonic() > limit or not all(process.is_alive() for process in self._processes):
                self.stop()
                raise WriterError("The writers cannot keep up with their rate, even without a migration.")
            time.sleep(0.05)

    def stop(self) -> list[Account]:
        """Let the writers execute what is due by now, and return what they did.

        Raises:
            WriterError: one of them got an error that none of the ways should cause.
        """
        self._until.value = time.monotonic()
        accounts: list[Account] = []
        while len(accounts) < len(self._processes):
            try:
                accounts.append(self._accounts.get(timeout=5))
            except queue.Empty:
                if not any(process.is_alive() for process in self._processes):
                    raise WriterError("A writer's process ended without a result.") from None
        failed = [account for account in accounts if account.error]
        for account in sorted(failed, key=lambda account: account.error == STOPPED):
            raise WriterError(f"A writer ({account.profile}) failed, so the times mean nothing: {account.error}")
        return accounts


def shares(rows: Sequence[GroupedRow]) -> list[Sequence[GroupedRow]]:
    """Return the rows of groups that each writer uses; no two of those that change rows use the same."""
    changing = [number for number, profile in enumerate(PROFILES) if profile == "grouped"]
    given: dict[int, Sequence[GroupedRow]] = {number: rows[n :: len(changing)] for n, number in enumerate(changing)}
    given[PROFILES.index("repeated")] = rows[:KEYS]
    return [given.get(number, ()) for number in range(len(PROFILES))]


def work(
    task: Task,
    inbox: Queue[Sequence[GroupedRow]],
    ready: Barrier,
    until: Synchronized[float],
    dues: MutableSequence[float],
    accounts: Queue[Account],
) -> None:
    """Execute every write that is due until the time in *until*, even if it is late; then deliver the account.

    *dues* has, by the number of the writer, the time at which its next write is due.
    """
    account = Account(task.profile)
    rows = inbox.get(timeout=START_LIMIT)
    try:
        with psycopg.connect(task.url, autocommit=True) as connection:
            write = WRITES[task.profile](connection, task, rows, account)
            ready.wait(timeout=START_LIMIT)
            due = time.monotonic() + task.number / len(PROFILES) / RATE
            while due <= until.value:
                time.sleep(max(0.0, due - time.monotonic()))
                write()
                account.times.append((due, time.monotonic()))
                due += 1 / RATE  # a late write does not postpone the next one: a wait counts from here
                dues[task.number] = due
    except threading.BrokenBarrierError:
        account.error = STOPPED
    except psycopg.Error as error:
        account.error = f"{error.sqlstate or type(error).__name__} {error.diag.message_primary or error}"
        ready.abort()
    finally:
        accounts.put(account)


def own_rows(
    connection: psycopg.Connection, task: Task, _rows: Sequence[GroupedRow], _account: Account
) -> Callable[[], None]:
    """Return a write that inserts a row with a new key and updates it, in one transaction."""
    numbers = itertools.count()

    def write() -> None:
        with connection.transaction():
            row = connection.execute(INSERT, (None, f"writer-{task.number}", None, None)).fetchone()
            connection.execute(UPDATE, (next(numbers) % 900, row[0]))

    return write


def grouped_rows(
    connection: psycopg.Connection, _task: Task, rows: Sequence[GroupedRow], _account: Account
) -> Callable[[], None]:
    """Return a write that updates, or every fourth time deletes, an extra or a survivor, which may be gone by then."""
    turns, numbers = itertools.cycle(rows), itertools.count()

    def write() -> None:
        number, row = next(numbers), next(turns)
        if number % 4 == 3:
            connection.execute("DELETE FROM agent_actions WHERE id = %s", (row.id,))
        else:
            connection.execute(UPDATE, (number % 900, row.id))

    return write


def repeated_keys(
    connection: psycopg.Connection, task: Task, rows: Sequence[GroupedRow], account: Account
) -> Callable[[], None]:
    """Return a write that delivers a new or an earlier event, and inserts it if a SELECT does not find its key.

    A second writer like this one would add duplicates during the index build, and the ways by hand would fail.
    """
    choice = random.Random(task.seed)  # noqa: S311 - a seed has to give the same events again
    keys = [row.key for row in rows]

    def write() -> None:
        is_new = choice.random() < 0.5
        key = NEW if is_new else choice.choice(keys)
        if not is_new and connection.execute(SELECT, key).fetchone():
            return
        try:
            inserted = connection.execute(INSERT, (key[0], f"writer-{task.number}", *key[1:])).fetchone()
        except psycopg.errors.UniqueViolation as error:
            if error.diag.constraint_name != NAME:
                raise
            account.rejected += 1
        else:
            keys.append(inserted[1:])

    return write


WRITES = {"own": own_rows, "grouped": grouped_rows, "repeated": repeated_keys}
