"""The application: eight writers who log every change in its own transaction, and a reader who keeps snapshots."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Self

import psycopg

from torture.world import KEYS, World

#: kinds of change and how often each is made; the storm makes duplicates, the calm is an application that looks first
STORM = {"insert": 40, "key": 20, "data": 20, "delete": 20}
CALM = {"insert": 0.3, "insert if new": 35, "key": 25, "data": 25, "delete": 15}

#: keys that nobody has yet, for the calm's key updates
FRESH = 2**31 - 1

#: SQLSTATEs that are no fault of ours: the constraint at work, and a server that goes or is not there
FORESEEN: dict[str | None, str] = {
    "23505": "refused",
    **dict.fromkeys(("57P01", "57P02", "57P03", "08001", "08003", "08006", None), "disconnected"),
}


class Writers:
    """A context manager; inside it the application runs, in a storm at first."""

    def __init__(self, world: World, seed: str, count: int = 8) -> None:
        self.world = world
        self.mode = STORM
        self._counts: list[Counter[str]] = [Counter() for _ in range(count + 1)]
        self._stop, self._gate = threading.Event(), threading.Event()
        self._gate.set()
        self._working = [threading.Lock() for _ in range(count + 1)]
        bodies = [self._writer] * count + [self._reader]
        self._threads = [
            threading.Thread(target=self._run, args=(body, number, Random(f"{seed} writer {number}")), daemon=True)
            for number, body in enumerate(bodies)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._gate.set()
        for thread in self._threads:
            thread.join(timeout=30)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside the block no transaction of the application is open."""
        self._gate.clear()
        with ExitStack() as held:
            for lock in self._working:
                held.enter_context(lock)
            yield
            self._gate.set()

    @property
    def seen(self) -> Counter[str]:
        """What all of them saw: committed, rolled back, refused, disconnected, read; and SQLSTATEs not foreseen."""
        return sum(self._counts, Counter())

    def unforeseen(self) -> dict[str, int]:
        """Return the errors that the application should never have seen, by SQLSTATE."""
        known = ("committed", "rolled back", "refused", "disconnected", "read")
        return {state: number for state, number in self.seen.items() if state not in known}

    def _run(self, body: Callable[[psycopg.Connection, Random], str], number: int, random: Random) -> None:
        connection: psycopg.Connection | None = None
        while not self._stop.is_set():
            self._gate.wait()
            with self._working[number]:
                try:
                    connection = connection or self.world.connect("torture application")
                    self._counts[number][body(connection, random)] += 1
                except psycopg.Error as error:
                    self._counts[number][FORESEEN.get(error.sqlstate, str(error.sqlstate))] += 1
                    connection = _recovered(connection)
            time.sleep(0.003 if connection else 0.05)
        if connection:
            connection.close()

    def _writer(self, connection: psycopg.Connection, random: Random) -> str:
        mode = self.mode
        kind = random.choices(list(mode), list(mode.values()))[0]
        fresh = kind == "key" and mode is CALM
        key = random.randrange(KEYS, FRESH) if fresh else random.randint(1, KEYS)
        # One row in three is looked for among all keys, so that those with a fresh key are changed too.
        near = random.randint(1, KEYS) if random.random() < 2 / 3 else random.randrange(FRESH)
        think = random.uniform(0.02, 0.12) if random.random() < 0.02 else 0.003
        end = "ROLLBACK" if random.random() < 0.05 else "COMMIT"
        # One message: a transaction whose outcome is not known is no trouble, for the log knows it.
        change = f"SELECT app_op('{kind}', {near}, {key}, {random.random()})"
        connection.execute(f"BEGIN; {change}; SELECT pg_sleep({think}); {end}".encode())
        return "committed" if end == "COMMIT" else "rolled back"

    @staticmethod
    def _reader(connection: psycopg.Connection, random: Random) -> str:
        connection.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; "
            f"SELECT pg_sleep({random.uniform(0.005, 0.06)}); COMMIT; SELECT pg_sleep(0.03)".encode()
        )
        return "read"


def _recovered(connection: psycopg.Connection | None) -> psycopg.Connection | None:
    """Return the connection, out of its failed transaction; None where it is lost."""
    if connection is None:
        return None
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        connection.close()
        return None
    return connection
