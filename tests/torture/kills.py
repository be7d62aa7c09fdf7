"""Kill the backend at the n-th statement: before it is sent, or when it is done and its answer is still on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import psycopg
from sqlalchemy import Engine, event

Moment = Literal["before", "after"]


@dataclass(repr=False)
class Kill:
    """What is killed and when; ``n`` is beyond the end where nothing is. ``seen`` are the statements that came."""

    killer: psycopg.Connection
    moment: Moment = "before"
    n: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def happened(self) -> bool:
        """Tell whether there was an n-th statement."""
        return 0 < self.n <= len(self.seen)

    def __repr__(self) -> str:
        return f"killed {self.moment} statement {self.n}: {' '.join(self.seen[self.n - 1].split())[:120]!r}"

    def _kill(self, pid: int) -> None:
        # With a timeout it waits until the backend is gone, and so are its locks.
        self.killer.execute(f"SELECT pg_terminate_backend({pid}, 10000)")

    def before(self, _conn, cursor, statement, *_) -> None:
        """Note the statement; end its backend if it is the one."""
        self.seen.append(statement)
        if self.moment == "before" and len(self.seen) == self.n:
            self._kill(cursor.connection.info.backend_pid)

    def after(self, _conn, cursor, *_) -> None:
        """End the backend that has done the statement, and lose the answer."""
        if self.moment == "after" and len(self.seen) == self.n:
            self._kill(cursor.connection.info.backend_pid)
            cursor.connection.execute("SELECT 'the driver learns of it'")


@contextmanager
def armed(engine: Engine, kill: Kill) -> Iterator[Kill]:
    """Let the statements of *engine* count, and one of them be the last of its connection."""
    listeners = (("before_cursor_execute", kill.before), ("after_cursor_execute", kill.after))
    for name, listener in listeners:
        event.listen(engine, name, listener)
    try:
        yield kill
    finally:
        for name, listener in listeners:
            event.remove(engine, name, listener)
