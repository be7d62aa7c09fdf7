"""Writers on every node of a cluster, each of which remembers what became of its own rows."""

import random
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg

from conftest import conninfo

Row = tuple[Any, ...]


@dataclass
class State:
    """What a row held from when to when, as far as its writer can say: possibly longer, never shorter."""

    name: str | None  #: None: deleted
    begins: float
    ends: float = float("inf")


@dataclass
class Writer:
    """Inserts, re-keys and deletes rows whose id has this remainder; nobody else touches them."""

    url: str
    number: int
    writers: int
    tenants: int
    names: int
    ids: list[int]
    stop: threading.Event
    history: dict[int, list[State]] = field(default_factory=lambda: defaultdict(list))
    longest: float = 0.0
    statements: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Write until it is stopped."""
        rng, following = random.Random(self.number), 10_000_000 + self.number  # noqa: S311 - not for secrets
        with psycopg.connect(conninfo(self.url), autocommit=True) as own:
            while not self.stop.wait(0.01):
                kind = rng.random()
                if kind < 0.5 or not self.ids:
                    following += self.writers
                    name = f"n{rng.randrange(self.names)}"
                    self._write(
                        own,
                        following,
                        name,
                        "INSERT INTO application.events (tenant, id, name, at) VALUES (%s, %s, %s, %s)",
                        insert=True,
                    )
                elif kind < 0.85:
                    name = f"n{rng.randrange(self.names)}"
                    self._write(
                        own,
                        rng.choice(self.ids),
                        name,
                        "UPDATE application.events SET name = %s WHERE tenant = %s AND id = %s",
                    )
                else:
                    self._write(
                        own, rng.choice(self.ids), None, "DELETE FROM application.events WHERE tenant = %s AND id = %s"
                    )

    def _write(self, own: psycopg.Connection, row: int, name: str | None, sql: str, *, insert: bool = False) -> None:
        tenant = row % self.tenants
        values: Row = (
            (tenant, row, name, "2026-01-01") if insert else (tenant, row) if name is None else (name, tenant, row)
        )
        started = time.time()
        try:
            changed = own.execute(sql, values).rowcount  # type: ignore[call-overload]
        except psycopg.errors.UniqueViolation:
            changed = 0
        except psycopg.Error as error:
            self.failures.append(f"{error.sqlstate}: {error}")
            changed = 0
        ended = time.time()
        self.longest, self.statements = max(self.longest, ended - started), self.statements + 1
        if changed:
            if insert:
                self.ids.append(row)
            elif self.history[row]:
                self.history[row][-1].ends = ended
            self.history[row].append(State(name, started))


class Traffic:
    """Writers in threads."""

    def __init__(self, urls: list[str], initial: dict[int, str], *, tenants: int, names: int, writers: int = 4) -> None:
        self.stop = threading.Event()
        self.writers = [
            Writer(
                url=urls[number % len(urls)],
                number=number,
                writers=writers,
                tenants=tenants,
                names=names,
                ids=[row for row in initial if row % writers == number],
                stop=self.stop,
            )
            for number in range(writers)
        ]
        for writer in self.writers:
            for row in writer.ids:
                writer.history[row].append(State(initial[row], 0.0))
        self.threads = [threading.Thread(target=writer.run) for writer in self.writers]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    @property
    def history(self) -> dict[int, list[State]]:
        """What each row held, of every writer."""
        return {row: states for writer in self.writers for row, states in writer.history.items()}


def objections(history: dict[int, list[State]], table: list[Row], archive: list[Row]) -> list[str]:
    """Return what is lost, doubled, changed, or was archived although its survivor did not hold its key then.

    Args:
        table: id and name of each row.
        archive: id, name, id of the survivor and the time in seconds.
    """
    live, archived = dict(table), {row: (name, survivor, at) for row, name, survivor, at in archive}
    violations = [] if len(live) == len(table) and len(archived) == len(archive) else ["a row exists twice"]
    for row, states in history.items():
        last = states[-1].name
        if row in live and row in archived:
            violations.append(f"row {row} is in the table and in the archive")
        elif last is None and (row in live or row in archived):
            violations.append(f"row {row} was deleted and exists")
        elif last is not None and row not in live and row not in archived:
            violations.append(f"row {row} is lost")
        elif last is not None and (live.get(row) or archived[row][0]) != last:
            violations.append(f"row {row} has lost its last change")
    violations += [f"row {row} appeared from nowhere" for row in (live.keys() | archived.keys()) - history.keys()]
    for row, (name, survivor, at) in archived.items():
        if not any(s.name == name and s.begins <= at <= s.ends for s in history.get(survivor, ())):
            violations.append(f"row {row} was archived, but its survivor {survivor} did not hold its key")
    return violations
