"""Start the writers' processes, stop them, and collect their reports; and insert one event ten times at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import uuid4

import psycopg
from psycopg.errors import UniqueViolation

from dupe_audit.demo.traffic import CYCLE, PERIOD, Report
from dupe_audit.errors import DupeAuditError

KINDS = ("old", "old", "new", "editing")
DESCRIPTION = {
    "old": "SELECT, then INSERT",
    "new": "ON CONFLICT DO NOTHING",
    "editing": "UPDATE and DELETE",
}

INSERTED, REFUSED, INSERTED_LATER = "inserted", "refused (23505)", "inserted with a later time"
INSERT = (
    # dupe-audit: accept insert-may-raise - the demo shows that it is refused
    "INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at) "
    "VALUES (%s, 'demo-ten', 'tool_call', 'Bash', %s)"
)


class Writers:
    """The application's processes: a context manager that leaves none of them behind."""

    def __init__(self, conninfo: str, count: int) -> None:
        self.start = 0.0
        kinds = [KINDS[number % len(KINDS)] for number in range(count)]
        self.new = kinds.count("new")  #: writers that leave duplicates to the constraint
        command = [sys.executable, "-m", "dupe_audit.demo.traffic", conninfo]
        self._processes = [
            # In its own session: Ctrl-C is for the demo, which then closes the pipe.
            subprocess.Popen(
                [*command, kind, f"writer {number}", str(CYCLE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for number, kind in enumerate(kinds)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()  # does nothing if it has ended
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with suppress(BrokenPipeError):
                        pipe.close()

    def begin(self) -> None:
        """Start all writers at the same moment.

        Raises:
            DupeAuditError: a writer could not connect; its reason is on stderr.
        """
        for process in self._processes:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise DupeAuditError("A writer of the demo could not be started; the reason is above.")
        self.start = time.monotonic() + 0.1
        for process in self._processes:
            if process.stdin:
                process.stdin.write(f"{self.start}\n")
                process.stdin.flush()

    def until_next_burst(self) -> float:
        """Return the seconds until the next redelivery is over."""
        cycle = CYCLE * PERIOD
        return cycle - (time.monotonic() - self.start) % cycle + 1.0

    def stop(self) -> list[Report]:
        """End all writers and return their reports.

        Raises:
            DupeAuditError: a writer died.
        """
        for process in self._processes:
            if process.stdin:
                process.stdin.close()
        reports = [process.stdout.read() if process.stdout else "" for process in self._processes]
        if not all(reports):
            raise DupeAuditError("A writer of the demo died; the reason is above.")
        return [Report(**json.loads(report)) for report in reports]


def raced(reports: list[Report]) -> int:
    """Return how many events the old writers inserted a second time: both selected before either inserted."""
    inserted = Counter(number for report in reports if report.kind == "old" for number in report.shared)
    return sum(inserted.values()) - len(inserted)


def at_once(conninfo: str, count: int) -> Counter[str]:
    """Insert the same event on *count* connections at the same moment; return how often each outcome occurred.

    Outcomes are INSERTED, REFUSED or an unexpected SQLSTATE. INSERTED_LATER is one more insert, whose key is a second
    later.
    """
    barrier = threading.Barrier(count, timeout=20)
    trace, when = uuid4(), datetime.now(UTC)

    def insert(_: int) -> str:
        try:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                barrier.wait()
                connection.execute(INSERT, [trace, when])
        except UniqueViolation:
            return REFUSED
        except (psycopg.Error, threading.BrokenBarrierError) as error:
            return getattr(error, "sqlstate", None) or type(error).__name__
        return INSERTED

    with ThreadPoolExecutor(count) as pool:
        outcomes = Counter(pool.map(insert, range(count)))
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(INSERT, [trace, when + timedelta(seconds=1)])
        outcomes[INSERTED_LATER] += 1
    return outcomes
