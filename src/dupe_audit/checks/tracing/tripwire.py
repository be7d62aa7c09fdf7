"""See which lock a statement takes that commits by itself: when it has ended, its locks are gone.

A transaction of ours holds ROW EXCLUSIVE on the tables, as any writer of the application would. A statement that
takes SHARE or more waits for it; what it waits for is read, and the wire is let go at once. Two sessions take turns,
so that a statement that locks several tables meets the wire at each.

No deadlock can come of it: each lock of ours is taken with NOWAIT, and let go when anybody else wants it.
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

#: seconds between two looks at the statement: less than what any lock_timeout would notice
EVERY = 0.002

Raw = psycopg.Connection[tuple[Any, ...]]


def oids(tables: Sequence[int]) -> str:
    """Return an ``oid[]`` expression."""
    return f"ARRAY[{', '.join(map(str, tables))}]::pg_catalog.oid[]"


class Wire:
    """Before one statement, ``Wire(…)``; after it, ``end()``, which says what was seen."""

    def __init__(self, observer: Raw, wires: Sequence[Raw], pid: int, tables: Sequence[int]) -> None:
        self._observer, self._pid, self._tables = observer, pid, tables
        self._held, self._free = wires
        rows = ask(observer, statement("scratch/trace_there", tables=oids(tables)))
        self._names: dict[int, str] = {int(oid): name for oid, name in rows}
        self._seen: list[tuple[int, str]] = []
        self._waited = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dupe-audit-wire", daemon=True)
        self._up = _lock(self._held, self._names.values())
        self._thread.start()

    def end(self) -> tuple[dict[int, str], float]:
        """Let go; return what was seen.

        Returns:
            The strongest lock on each table, if it is SHARE or more; and the seconds that the statement waited for us.
        """
        self._stop.set()
        self._thread.join()
        return strongest(self._seen), self._waited

    def _watch(self) -> None:
        wires = f"ARRAY[{self._held.info.backend_pid}, {self._free.info.backend_pid}]::pg_catalog.int4[]"
        look = statement("scratch/trace_wait", pid=str(self._pid), wires=wires, tables=oids(self._tables))
        try:
            while True:
                self._look(ask(self._observer, look))
                if self._stop.wait(EVERY):
                    return
        finally:
            for wire in (self._held, self._free):
                _release(wire)

    def _look(self, rows: list[tuple[Any, ...]]) -> None:
        for pid, locktype, table, mode, granted, waited, at_wire in rows:
            if at_wire and pid != self._pid:
                # The statement may wait for that session, and no detector would see the circle.
                self._up = False
                _release(self._held)
            elif granted:
                if MODES[mode] in STRONG_MODES:  # a weaker one would be seen by chance
                    self._seen.append((table, MODES[mode]))
            elif at_wire and self._up:
                began = time.perf_counter()
                if locktype == "relation" and table in self._names:
                    self._seen.append((table, MODES[mode]))
                    del self._names[table]
                    # The next wire is up before this one is let go, so the statement cannot slip through between.
                    self._up = _lock(self._free, self._names.values())
                else:
                    self._up = False  # a concurrent build waits for every writer's end, whatever table it wrote to
                _release(self._held)
                self._held, self._free = self._free, self._held
                self._waited += (waited or 0.0) + time.perf_counter() - began


def ask(connection: Raw, sql: str) -> list[tuple[Any, ...]]:
    """Run a query through the simple protocol."""
    return connection.execute(sql.encode(), prepare=False).fetchall()


def _lock(wire: Raw, names: Any) -> bool:
    """Hold what a writer would; whether that could be had at once."""
    targets = ", ".join(f"ONLY {name}" for name in names)
    if not targets:
        return False
    try:
        wire.execute(f"BEGIN; LOCK TABLE {targets} IN ROW EXCLUSIVE MODE NOWAIT".encode(), prepare=False)
    except psycopg.Error:
        _release(wire)
        return False
    return True


def _release(wire: Raw) -> None:
    with suppress(psycopg.Error):  # a session that is gone has let go
        wire.execute(b"ROLLBACK", prepare=False)
