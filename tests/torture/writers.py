"""The application: eight writers that log each change in its own transaction, and a reader that keeps snapshots."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Self

import psycopg

from torture.world import KEYS, World

#: kinds that only a partial key has: letters change their case, and a row enters the predicate or leaves it
STORM_PARTIAL = {"case": 10, "flip": 40}
CALM_PARTIAL = {"case": 10, "flip": 0.3, "retire": 15}
PARTIAL = STORM_PARTIAL | CALM_PARTIAL

#: kinds that change the very columns that are merged and amended, beside a row's key and its being live
OUTCOMES = {"hits": 25, "status": 10}

#: kinds of change and their weights; the storm creates duplicates, the calm is an application that looks first
CHILDREN = {"child": 10, "move child": 5, "note child": 5}
STORM = {"insert": 40, "key": 20, "data": 20, "delete": 20, **CHILDREN, **STORM_PARTIAL, **OUTCOMES}
CALM = {"insert": 0.3, "insert if new": 35, "key": 25, "data": 25, "delete": 15, **CHILDREN, **CALM_PARTIAL, **OUTCOMES}

#: weights of transactions that add children without a lock on their parents
SOME_STRAYS, MANY_STRAYS = 10, 300

#: kinds of a session with ``session_replication_role = replica``, as an import or a replication tool has it
WITHOUT_INTEGRITY = ("stray children", "delete alone")

#: partitions that arrive in a tree: when, and how. The first takes rows of a DEFAULT along, duplicates included, once a
#: leaf has its index; the second arrives while the leaves are attached, if it is quick enough. Each also locks the
#: children, whose foreign key the new partition gets; writers lock both in either order, so each try is a short one.
ARRIVALS = {
    "SELECT FROM part WHERE valid": """
        BEGIN; SET LOCAL lock_timeout = '50ms'; LOCK TABLE ONLY tt_rest IN ACCESS EXCLUSIVE MODE;
        CREATE TABLE tt_7 (LIKE tt INCLUDING DEFAULTS INCLUDING INDEXES);
        WITH moved AS (DELETE FROM tt_rest WHERE k >= '7' AND k < '8' RETURNING *) INSERT INTO tt_7 SELECT * FROM moved;
        ALTER TABLE tt ATTACH PARTITION tt_7 FOR VALUES FROM ('7') TO ('8'); COMMIT""",
    "SELECT FROM unique_index": """
        BEGIN; SET LOCAL lock_timeout = '50ms';
        CREATE TABLE tt_5a PARTITION OF tt_4 FOR VALUES FROM ('5a') TO ('5b'); COMMIT""",
}

#: upper limit of the unused keys, for the calm's key updates
FRESH = 2**31 - 1

#: SQLSTATEs that are not our fault: the constraint at work, a child of a row that was just removed, and a server that
#: stops or is away
FORESEEN: dict[str | None, str] = {
    "23505": "refused",
    "23503": "came too late",
    **dict.fromkeys(("57P01", "57P02", "57P03", "08001", "08003", "08006", None), "disconnected"),
}

#: the same in a tree: a row that another session of the application has moved to another leaf, and a partition that did
#: not get its locks
FORESEEN_IN_A_TREE = {"40001": "moved meanwhile", "55P03": "not in time"}


class Writers:
    """A context manager; inside it the application runs, at first in a storm.

    *strays* is the weight of transactions that add children without referential integrity; beside them, none relies on
    a trigger for its log.
    """

    def __init__(self, world: World, seed: str, count: int = 8, *, strays: float = 0) -> None:
        self.world = world
        self.mode = STORM
        self.strays = strays
        self.longest = 0.0  #: seconds of the longest transaction, without those that it kept itself
        self._arriving = dict(ARRIVALS) if world.tree else {}
        bodies = [self._writer] * count + [self._reader] + ([self._arrival] if world.tree else [])
        self._counts: list[Counter[str]] = [Counter() for _ in bodies]
        self._stop, self._gate = threading.Event(), threading.Event()
        self._gate.set()
        self._working = [threading.Lock() for _ in bodies]
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
            thread.join(timeout=120)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside the block no transaction of the application is open."""
        self._gate.clear()
        with ExitStack() as locks:
            for lock in self._working:
                locks.enter_context(lock)
            yield
            self._gate.set()

    @property
    def outcomes(self) -> Counter[str]:
        """Results of all transactions: committed, rolled back, refused, disconnected, read, unforeseen SQLSTATEs."""
        return sum(self._counts, Counter())

    def unforeseen(self) -> dict[str, int]:
        """Return the number of errors that the application should never get, by SQLSTATE."""
        expected = ("committed", "rolled back", "refused", "came too late", "disconnected", "read")
        expected += tuple(FORESEEN_IN_A_TREE.values())
        return {state: number for state, number in self.outcomes.items() if state not in expected}

    def _run(self, body: Callable[[psycopg.Connection, Random], str], number: int, random: Random) -> None:
        connection: psycopg.Connection | None = None
        while not self._stop.is_set():
            self._gate.wait()
            with self._working[number]:
                try:
                    connection = connection or self.world.connect("torture application")
                    self._counts[number][body(connection, random)] += 1
                except psycopg.Error as error:
                    foreseen = {**FORESEEN, **(FORESEEN_IN_A_TREE if self.world.tree else {})}
                    self._counts[number][foreseen.get(error.sqlstate, str(error.sqlstate))] += 1
                    connection = _recovered(connection)
            time.sleep(0.003 if connection else 0.05)
        if connection:
            connection.close()

    def _writer(self, connection: psycopg.Connection, random: Random) -> str:
        mode = self.mode
        missing = {*(() if self.world.partial else PARTIAL), *(() if self.world.changes_rows else OUTCOMES)}
        missing |= {"case"} if self.world.tree else set()
        weights = {kind: weight for kind, weight in mode.items() if kind not in missing}
        if self.strays:
            weights["stray children"] = self.strays
        kind = random.choices(list(weights), list(weights.values()))[0]
        if self.strays and kind == "delete":
            kind = "delete alone"  # a cascade would take strays along that the log of this session does not have
        fresh = kind == "key" and mode is CALM
        key = random.randrange(KEYS, FRESH) if fresh else random.randint(1, KEYS)
        # One row in three is searched among all keys, so that rows with a fresh key are changed, too.
        near = random.randint(1, KEYS) if random.random() < 2 / 3 else random.randrange(FRESH)
        think = random.uniform(0.02, 0.12) if random.random() < 0.02 else 0.003
        end = "ROLLBACK" if random.random() < 0.05 else "COMMIT"
        # One message: the log has the outcome of a transaction, even if the writer never hears of it.
        role = "SET LOCAL session_replication_role = replica; " if kind in WITHOUT_INTEGRITY else ""
        # Now and then, the application itself gives a row the new key that an amendment would give to another one.
        suffix = f"-{random.randint(2, 4)}" if self.world.changes_rows and random.random() < 0.1 else ""
        spelled = f"'{self._spelled(near, random)}', '{self._spelled(key, random)}{suffix}'"
        change = f"{role}SELECT app_op('{kind}', {spelled}, {random.random()})"
        began = time.monotonic()
        connection.execute(f"BEGIN; {change}; SELECT pg_sleep({think}); {end}".encode())
        self.longest = max(self.longest, time.monotonic() - began - think)
        return "committed" if end == "COMMIT" else "rolled back"

    @property
    def spells(self) -> bool:
        """Whether a key has letters, whose case does not matter."""
        return self.world.partial and not self.world.tree

    def _spelled(self, number: int, random: Random) -> str:
        word = "".join(random.choice((letter, letter.upper())) for letter in "key ") if self.spells else ""
        return f"{word}{number}"

    @property
    def arrived(self) -> int:
        """How many partitions have arrived."""
        return len(ARRIVALS) - len(self._arriving)

    def _arrival(self, connection: psycopg.Connection, _random: Random) -> str:
        for due, statements in self._arriving.items():
            if connection.execute(due.encode()).rowcount:
                try:
                    connection.execute(statements.encode())
                except psycopg.errors.DuplicateTable:  # it was created, and the reply was lost with the connection
                    connection.execute("ROLLBACK")
                del self._arriving[due]
                return "committed"
        return "read"

    @staticmethod
    def _reader(connection: psycopg.Connection, random: Random) -> str:
        connection.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; "
            f"SELECT pg_sleep({random.uniform(0.005, 0.06)}); COMMIT; SELECT pg_sleep(0.03)".encode()
        )
        return "read"


def _recovered(connection: psycopg.Connection | None) -> psycopg.Connection | None:
    """Return the connection outside its failed transaction; None if it is lost."""
    if connection is None:
        return None
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        connection.close()
        return None
    return connection
