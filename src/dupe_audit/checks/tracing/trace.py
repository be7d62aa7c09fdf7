"""Trace what a revision's statements lock and what they work through, while the revision runs.

In a transaction, locks stay until its end: they are read from ``pg_locks`` after each statement. A statement that
commits by itself runs into a tripwire. What was scanned, the migration's own session counts; what was built or
rewritten, the catalog shows. Statements that go past SQLAlchemy, such as COPY by the driver, are not seen.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import Traced
from dupe_audit.checks.tracing import work
from dupe_audit.checks.tracing.tripwire import Raw, Wire, ask, oids
from dupe_audit.checks.tracing.work import Work, can_lock, first_word, own
from dupe_audit.postgres.locks import MODES, STRONG_MODES, strongest
from dupe_audit.postgres.sqlstates import FAILED_TRANSACTION, sqlstate
from dupe_audit.schema.facts import Table
from dupe_audit.statements import statement

#: what would fail or behave differently if it met our wire
_IMPATIENT = re.compile(r"nowait|skip_locked|skip\s+locked|lock_timeout|statement_timeout", re.IGNORECASE)
_PATIENCE = 0.1  # seconds of lock_timeout or statement_timeout; with less, no wire
#: after which a session must not be asked anything yet, because what follows may have to come first
_BEFORE_ALL = frozenset({"SET", "BEGIN", "START"})

_WHO = (
    "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num')::int4, "
    "pg_catalog.current_database()::text, extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text"
)
_PATIENT = " AND ".join(
    f"extract(epoch FROM pg_catalog.current_setting('{name}')::interval) NOT BETWEEN 0.0001 AND {_PATIENCE}"
    for name in ("lock_timeout", "statement_timeout")
)


@dataclass(slots=True)
class Tracing:
    """What was traced so far."""

    statements: tuple[Traced, ...] = ()
    #: the last statement's error that is not the mere echo of one before, which Alembic's batches let come instead
    error: DBAPIError | None = None


@dataclass(slots=True)
class _Session:
    """A connection of the migration."""

    pid: int
    version: int
    before: Work | None = None  #: as of the end of its last statement, where its transaction held a strong lock then


@dataclass(slots=True)
class _Running:
    """A statement that has begun."""

    text: str
    line: int
    session: _Session | None
    before: Work | None = None
    alone: bool = False  #: whether it commits by itself
    wire: Wire | None = None
    began: float = field(default_factory=time.perf_counter)


@contextmanager
def tracing(observer: Connection, tables: Sequence[Table], revision_file: Path) -> Iterator[Tracing]:
    """Trace the statements of a revision that runs in this process within the block.

    Args:
        observer: an autocommit connection of ours (psycopg) to the scratch database; two more are opened beside it.
        tables: that were there before the revision; locks on others are not looked at.
        revision_file: where it is written. Only statements that it causes are traced.
    """
    with observer.engine.connect() as one, observer.engine.connect() as other:
        raw = [each.connection.driver_connection for each in (observer, one, other)]
        tracer = _Tracer(raw, observer.engine.pool, tables, revision_file)
        hooks: dict[str, Callable[..., None]] = {
            "before_cursor_execute": tracer.before,
            "after_cursor_execute": tracer.after,
            "handle_error": tracer.failed,
            "commit": tracer.transaction_ended,
            "rollback": tracer.transaction_ended,
        }
        for name, hook in hooks.items():
            event.listen(Engine, name, hook)
        try:
            yield tracer.traced
        finally:
            for name, hook in hooks.items():
                event.remove(Engine, name, hook)
            tracer.close()


class _Tracer:
    def __init__(self, raw: Sequence[Any], pool: object, tables: Sequence[Table], file: Path) -> None:
        self.traced = Tracing()
        self._observer: Raw = raw[0]
        self._wires: Sequence[Raw] = raw[1:]
        self._pool = pool
        self._names = {table.oid: str(table) for table in tables}
        self._oids = oids([table.oid for table in tables])
        self._file = file.resolve()
        self._files: dict[str, bool] = {}
        self._server = tuple(ask(self._observer, _WHO)[0][1:])
        self._mark = object()  #: under which a connection's ``info`` has what is known of it
        self._running: dict[int, _Running] = {}

    def before(self, conn: Connection, _cursor: Any, text: str, *_: Any) -> None:
        """Get ready for a statement."""
        line = None if conn.engine.pool is self._pool else self._line()
        if line is None:
            return
        running = _Running(text, line, None)
        if can_lock(text) and (session := self._session(conn)):
            running.session = session
            if _autocommit(conn) and not self._in_transaction(session):
                self._arm(conn, running, session)
            else:
                session.before = running.before = session.before or self._work(conn)
        elif session := self._known(conn):
            running.session, running.before = session, session.before
        self._running[id(conn)] = running
        running.began = time.perf_counter()

    def after(self, conn: Connection, _cursor: Any, text: str, *_: Any) -> None:
        """Look at what a statement did."""
        running = self._running.pop(id(conn), None)
        if running is None:
            return
        seconds = time.perf_counter() - running.began
        if running.session is None and first_word(text) not in _BEFORE_ALL:
            running.session = self._session(conn)
        if running.session is None:
            return
        now: Work | None = None
        held, waited = running.wire.end() if running.wire else ({}, 0.0)
        if running.alone:
            now = self._work(conn)
        else:
            state, held = self._look(running.session)
            # Reading the work of a session costs as much as a small statement, and without a lock nobody asks.
            if any(mode in STRONG_MODES for mode in held.values()):
                now = self._work(conn)
            running.session.before = now if state == "idle in transaction" else None
        self._enter(running, held, _worked(running, now, seconds), max(seconds - waited, 0.0))

    def failed(self, context: Any) -> None:
        """Let go of a statement that failed: its work is undone, and its session must not be asked."""
        running = self._running.pop(id(context.connection), None)
        error = context.sqlalchemy_exception
        if running and isinstance(error, DBAPIError) and sqlstate(error) != FAILED_TRANSACTION:
            self.traced.error = error
        if running is None or running.session is None:
            return
        seconds = time.perf_counter() - running.began
        held, waited = running.wire.end() if running.wire else ({}, 0.0)
        running.session.before = None
        self._enter(running, held, {}, max(seconds - waited, 0.0))

    def transaction_ended(self, conn: Connection) -> None:
        """Forget what was counted in a transaction that is over."""
        if session := self._known(conn):
            session.before = None

    def close(self) -> None:
        """Let go of what still runs."""
        for running in self._running.values():
            if running.wire:
                running.wire.end()

    def _arm(self, conn: Connection, running: _Running, session: _Session) -> None:
        # The session hands on what it has counted, so that all that is counted afterwards is the statement's.
        flush = ", pg_catalog.pg_stat_force_next_flush()" if session.version >= 150000 else ""
        told = own(conn, f"SELECT {_PATIENT}{flush}")
        running.before, running.alone = self._work(conn), True
        if told and told[0][0] and running.before is not None and not _IMPATIENT.search(running.text):
            running.wire = Wire(self._observer, self._wires, session.pid, list(self._names))

    def _enter(self, running: _Running, held: dict[int, str], worked: dict[int, str], seconds: float) -> None:
        names = self._names
        self.traced.statements += (
            Traced(
                statement=running.text,
                line=running.line,
                seconds=seconds,
                held=tuple((names[table], held[table]) for table in names if table in held),
                worked=tuple((names[table], worked[table]) for table in names if table in worked),
            ),
        )

    def _line(self) -> int | None:
        """Return the line of the revision that causes what runs now."""
        frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the only way to see it
        while frame is not None:
            name = frame.f_code.co_filename
            if name not in self._files:
                self._files[name] = not name.startswith("<") and Path(name).resolve() == self._file
            if self._files[name]:
                return frame.f_lineno
            frame = frame.f_back
        return None

    def _known(self, conn: Connection) -> _Session | None:
        found = None if conn.closed or conn.invalidated else conn.info.get(self._mark)
        return found if isinstance(found, _Session) else None

    def _session(self, conn: Connection) -> _Session | None:
        """Return what is known of a connection, and ask it at first; None for one to another database."""
        if self._mark not in conn.info:
            told = own(conn, _WHO) or [(None,)]
            here = tuple(told[0][1:]) == self._server
            conn.info[self._mark] = _Session(told[0][0], told[0][1]) if here else None
        return self._known(conn)

    def _look(self, session: _Session) -> tuple[str | None, dict[int, str]]:
        rows = ask(self._observer, statement("scratch/trace_session", pid=str(session.pid), tables=self._oids))
        return (rows[0][0] if rows else None), strongest([(row[1], MODES[row[2]]) for row in rows if row[1]])

    def _in_transaction(self, session: _Session) -> bool:
        return self._look(session)[0] != "idle"

    def _work(self, conn: Connection) -> Work | None:
        return work.seen(conn, self._oids)


def _worked(running: _Running, now: Work | None, seconds: float) -> dict[int, str]:
    if now is None or running.before is None:
        return {}
    return work.between(running.text, running.before, now, seconds=seconds if running.alone else None)


def _autocommit(conn: Connection) -> bool:
    return bool(getattr(conn.connection.dbapi_connection, "autocommit", False))
