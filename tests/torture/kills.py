"""Kill the backend at its n-th statement: before the statement is sent, or after it and before its answer is read."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import psycopg
from sqlalchemy import Engine, event

Moment = Literal["before", "after"]

#: seconds until a backend that was terminated has to be gone
GONE_WITHIN = 120


def terminate(killer: psycopg.Connection, pid: int) -> None:
    """End a backend; return when it is gone and has released its locks."""
    killer.execute(f"SELECT pg_terminate_backend({pid})")
    deadline = time.monotonic() + GONE_WITHIN
    # pg_terminate_backend() waits, too, but looks only every 100 ms.
    while killer.execute(f"SELECT FROM pg_stat_activity WHERE pid = {pid}").rowcount:
        assert time.monotonic() < deadline, f"backend {pid} does not end"
        time.sleep(0.001)


@dataclass(repr=False)
class Kill:
    """Which statement the backend dies at; nothing is killed if there are fewer than *n*, or if *n* is 0."""

    killer: psycopg.Connection
    moment: Moment = "before"
    n: int = 0
    statements: list[str] = field(default_factory=list)  #: all that were executed, in order

    @property
    def happened(self) -> bool:
        """Return whether there was an n-th statement."""
        return 0 < self.n <= len(self.statements)

    def __repr__(self) -> str:
        return f"killed {self.moment} statement {self.n}: {' '.join(self.statements[self.n - 1].split())[:120]!r}"

    def before(self, _conn, cursor, statement, *_) -> None:
        """Record the statement; end its backend if it is the n-th."""
        self.statements.append(statement)
        if self.moment == "before" and len(self.statements) == self.n:
            terminate(self.killer, cursor.connection.info.backend_pid)

    def after(self, _conn, cursor, *_) -> None:
        """End the backend that has executed the n-th statement, and lose the answer."""
        if self.moment == "after" and len(self.statements) == self.n:
            terminate(self.killer, cursor.connection.info.backend_pid)
            cursor.connection.execute("SELECT 'the driver notices'")


@contextmanager
def armed(engine: Engine, kill: Kill) -> Iterator[Kill]:
    """Count the statements of *engine* inside the block, and kill as *kill* says."""
    listeners = (("before_cursor_execute", kill.before), ("after_cursor_execute", kill.after))
    for name, listener in listeners:
        event.listen(engine, name, listener)
    try:
        yield kill
    finally:
        for name, listener in listeners:
            event.remove(engine, name, listener)
