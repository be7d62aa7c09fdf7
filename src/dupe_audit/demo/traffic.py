"""One writer of the demo, in its own process: ``python -m dupe_audit.demo.traffic CONNINFO KIND NAME CYCLE``.

It prints ``ready``, reads from stdin when to start (a time of the monotonic clock, which all processes share), writes
until stdin closes, and prints its Report. So it also ends when the demo is killed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import NAMESPACE_OID, uuid5

import psycopg
from psycopg.errors import UniqueViolation

PERIOD = 0.05  #: seconds from one event to the next, at every writer
CYCLE, BURST = 80, 8  #: the first BURST of each CYCLE events are redelivered to every consumer of the group at once
THINK = 0.015  #: seconds between a consumer's SELECT and its INSERT; long enough to lose a race

SELECT = "SELECT 1 FROM agent_actions WHERE correlation_id = %s AND action_name = %s AND created_at = %s"
INSERT: LiteralString = (
    # dupe-audit: accept insert-may-raise - what the old writers send
    "INSERT INTO agent_actions (correlation_id, action_name, created_at, duration_ms, agent_name, action_type, "
    "action_details) VALUES (%s, %s, %s, %s, 'demo-writer', 'tool_call', '{\"tool\": \"live\"}')"
)
RETURNING = " RETURNING id::text"
UPDATE = (
    "UPDATE agent_actions SET duration_ms = %s, action_details = action_details || '{\"done\": true}' WHERE id = %s"
)
DELETE = "DELETE FROM agent_actions WHERE id = %s"


@dataclass(kw_only=True)
class Report:
    """What one writer did and saw; ``longest_at`` is a time of the monotonic clock."""

    kind: str
    statements: int = 0
    longest: float = 0.0  #: seconds of its slowest statement
    longest_at: float = 0.0  #: when that statement was sent
    inserted: int = 0
    prevented: int = 0  #: duplicates that the constraint kept out: refused (23505) or skipped (ON CONFLICT)
    errors: dict[str, int] = field(default_factory=dict)  #: by SQLSTATE; all of them unexpected
    shared: list[int] = field(default_factory=list)  #: numbers of redelivered events that it inserted
    rows: dict[str, int] = field(default_factory=dict)  #: id and duration of every row that must be in the table


@dataclass(frozen=True, slots=True)
class Event:
    """One delivery."""

    number: int
    shared: bool  #: delivered to every consumer of the group, so it can become a duplicate
    key: tuple[str, str, datetime]


class DemoWriter:
    """One application's connection, and its record of what must be in the table.

    Args:
        connection: in autocommit mode.
        kind: ``old``, ``new`` or ``editing``.
        name: of this writer, from which the keys of its own events are made.
        cycle: events between the starts of two bursts of redelivery.
    """

    def __init__(self, connection: psycopg.Connection, kind: str, name: str, cycle: int = CYCLE) -> None:
        self.connection = connection
        self.name = name
        self.cycle = cycle
        self.report = Report(kind=kind)
        self.errors: Counter[str] = Counter()
        self.own: deque[str] = deque()  # ids that the editing writer will delete, oldest first
        self.handle: Callable[[int], None] = {"old": self.old, "new": self.new, "editing": self.editing}[kind]

    def ask(self, query: LiteralString, *values: object) -> list[Any]:
        """Execute one statement and time it, even if it fails; return its rows, or one None per row changed."""
        sent_at = time.monotonic()
        try:
            cursor = self.connection.execute(query, values)
            return cursor.fetchall() if cursor.description else [None] * cursor.rowcount
        finally:
            seconds = time.monotonic() - sent_at
            self.report.statements += 1
            if seconds > self.report.longest:
                self.report.longest, self.report.longest_at = seconds, sent_at

    def event(self, number: int, *, consumer: bool = True) -> Event:
        """Return event *number*: inside a burst the whole group's, otherwise this writer's own."""
        shared = consumer and number % self.cycle < BURST
        trace = uuid5(NAMESPACE_OID, f"{'group' if shared else self.name} {number // 20}")
        return Event(number, shared, (str(trace), "Bash", datetime(2025, 12, 1, tzinfo=UTC) + timedelta(0, number)))

    def keep(self, event: Event, identity: str) -> None:
        """Record a committed row, which must not be lost from now on."""
        self.report.inserted += 1
        self.report.rows[identity] = event.number
        if event.shared:
            self.report.shared.append(event.number)

    def old(self, number: int) -> None:
        """Select, then insert: two consumers can both select before either inserts."""
        event = self.event(number)
        self.ask("BEGIN")
        try:
            new = None
            if not self.ask(SELECT, *event.key):
                time.sleep(THINK)
                new = self.ask(INSERT + RETURNING, *event.key, event.number)
        except UniqueViolation:
            self.report.prevented += 1
            self.ask("ROLLBACK")
            return
        self.ask("COMMIT")
        if new:
            self.keep(event, new[0][0])

    def new(self, number: int) -> None:
        """Leave duplicates to the constraint. This writer receives each event again, just after the others."""
        event = self.event(number - 1)
        if new := self.ask(INSERT + " ON CONFLICT DO NOTHING" + RETURNING, *event.key, event.number):
            self.keep(event, new[0][0])
        else:
            self.report.prevented += 1

    def editing(self, number: int) -> None:
        """Insert, change a column outside the key, and delete rows that are about a second old."""
        event = self.event(number, consumer=False)
        [[identity]] = self.ask(INSERT + RETURNING, *event.key, number)
        self.keep(event, identity)
        self.own.append(identity)
        changed = self.own[number % len(self.own)]
        if len(self.ask(UPDATE, number + 1_000_000, changed)) != 1:
            self.errors["row to update was gone"] += 1
        self.report.rows[changed] = number + 1_000_000
        oldest = self.own.popleft() if len(self.own) > 20 else None
        if oldest and number % 3:  # every third stays, so that edited rows remain to compare at the end
            if len(self.ask(DELETE, oldest)) != 1:
                self.errors["row to delete was gone"] += 1
            del self.report.rows[oldest]

    def work(self, start: float, stop: threading.Event) -> None:
        """Handle one event per period until *stop* is set; catch up after a wait, as consumers do."""
        number = 0
        while not stop.wait(max(0.0, start + number * PERIOD - time.monotonic())):
            try:
                self.handle(number)
            except psycopg.Error as error:
                self.errors[error.sqlstate or type(error).__name__] += 1
                if self.connection.closed:
                    break
                self.connection.execute("ROLLBACK")
            number += 1
        self.report.errors = dict(self.errors)


def main(conninfo: str, kind: str, name: str, cycle: str) -> None:
    """Write until stdin closes, then report on stdout."""
    options = "-c statement_timeout=20s"  # a writer that hangs could not report it
    with psycopg.connect(conninfo, autocommit=True, application_name=f"demo {name}", options=options) as connection:
        writer, stop = DemoWriter(connection, kind, name, int(cycle)), threading.Event()
        print("ready", flush=True)  # noqa: T201 - the protocol with the demo
        start = sys.stdin.readline()
        if not start:
            return

        def until_closed() -> None:
            while os.read(0, 1):  # not sys.stdin: a thread inside its lock would abort the interpreter's exit
                pass
            stop.set()

        threading.Thread(target=until_closed, daemon=True).start()
        writer.work(float(start), stop)
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(asdict(writer.report)).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
