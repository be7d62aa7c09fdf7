"""Find out which lock a statement takes that commits by itself: when it has ended, its locks are gone.

A transaction of ours holds ROW EXCLUSIVE on the tables, as any writer of the application would. A statement that takes
SHARE or a stronger lock waits for it. The tripwire reads which lock it waits for, and releases its own at once. Two
sessions take turns, so that a statement that locks several tables meets a tripwire on each of them.

This cannot deadlock: each of our locks is taken with NOWAIT, and released when any other session wants it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg

from dupe_audit.postgres.locks import MODES, STRONG_MODES, strongest
from dupe_audit.statements import statement

#: seconds between two looks at the statement: shorter than any lock_timeout for which a tripwire is set
EVERY = 0.002

Raw = psycopg.Connection[tuple[Any, ...]]


def oids(tables: Sequence[int]) -> str:
    """Return an ``oid[]`` expression."""
    return f"ARRAY[{', '.join(map(str, tables))}]::pg_catalog.oid[]"


class Tripwire:
    """Set before one statement by ``Tripwire(…)``; ``end()`` after the statement returns what it locked."""

    def __init__(self, observer: Raw, sessions: Sequence[Raw], pid: int, tables: Sequence[int]) -> None:
        self._observer, self._pid, self._tables = observer, pid, tables
        self._active, self._spare = sessions
        rows = ask(observer, statement("scratch/trace_names", tables=oids(tables)))
        self._names: dict[int, str] = {int(oid): name for oid, name in rows}
        self._locks: list[tuple[int, str]] = []
        self._waited = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dupe-audit-wire", daemon=True)
        self._set = _lock(self._active, self._names.values())
        self._thread.start()

    def end(self) -> tuple[dict[int, str], float]:
        """Release the tripwire.

        Returns:
            The strongest lock on each table, by its oid, if it is SHARE or stronger; and the seconds that the statement
            waited for the tripwire.
        """
        self._stop.set()
        self._thread.join()
        return strongest(self._locks), self._waited

    def _watch(self) -> None:
        wires = f"ARRAY[{self._active.info.backend_pid}, {self._spare.info.backend_pid}]::pg_catalog.int4[]"
        look = statement("scratch/trace_wait", pid=str(self._pid), wires=wires, tables=oids(self._tables))
        try:
            while True:
                self._look(ask(self._observer, look))
                if self._stop.wait(EVERY):
                    return
        finally:
            for session in (self._active, self._spare):
                _release(session)

    def _look(self, rows: list[tuple[Any, ...]]) -> None:
        for pid, locktype, table, mode, granted, waited, at_wire in rows:
            if at_wire and pid != self._pid:
                # The statement may be waiting for that session, which the deadlock detector would not see.
                self._set = False
                _release(self._active)
            elif granted:
                if MODES[mode] in STRONG_MODES:  # a weaker lock would only be seen by chance
                    self._locks.append((table, MODES[mode]))
            elif at_wire and self._set:
                began = time.perf_counter()
                if locktype == "relation" and table in self._names:
                    self._locks.append((table, MODES[mode]))
                    del self._names[table]
                    # Set the next tripwire before releasing this one, so that the statement cannot slip through.
                    self._set = _lock(self._spare, self._names.values())
                else:
                    self._set = (
                        False  # a concurrent build waits for the end of every writer, whatever table it wrote to
                    )
                _release(self._active)
                self._active, self._spare = self._spare, self._active
                self._waited += (waited or 0.0) + time.perf_counter() - began


def ask(connection: Raw, sql: str) -> list[tuple[Any, ...]]:
    """Execute a query through the simple protocol and return its rows."""
    return connection.execute(sql.encode(), prepare=False).fetchall()


def _lock(session: Raw, names: Any) -> bool:
    """Take a writer's lock on the tables; return whether it was available at once."""
    targets = ", ".join(f"ONLY {name}" for name in names)
    if not targets:
        return False
    try:
        session.execute(f"BEGIN; {statement('scratch/trace_lock', tables=targets)}".encode(), prepare=False)
    except psycopg.Error:
        _release(session)
        return False
    return True


def _release(session: Raw) -> None:
    with suppress(psycopg.Error):  # a lost session has released its locks
        session.execute(b"ROLLBACK", prepare=False)
