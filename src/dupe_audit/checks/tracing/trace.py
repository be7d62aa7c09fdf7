"""Trace what the statements of a revision lock, and which tables they scan, index or rewrite.

A transaction keeps its locks until its end: they are read from ``pg_locks`` after each statement. A statement that
commits by itself meets a tripwire. The migration's own session counts what was scanned; the catalog shows what was
built or rewritten. Statements that bypass SQLAlchemy, such as a COPY by the driver, are not traced.
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

from dupe_audit.checks.evidence import TracedStatement
from dupe_audit.checks.tracing.table_work import (
    SessionCounts,
    can_lock,
    first_word,
    query_own_session,
    read_counts,
    work_between,
)
from dupe_audit.checks.tracing.tripwire import Raw, Tripwire, ask, oids
from dupe_audit.postgres.locks import MODES, STRONG_MODES, strongest
from dupe_audit.postgres.sqlstates import FAILED_TRANSACTION, sqlstate
from dupe_audit.schema.facts import Table
from dupe_audit.statements import statement

#: words of statements that would fail or behave differently if they met a tripwire
_IMPATIENT = re.compile(r"nowait|skip_locked|skip\s+locked|lock_timeout|statement_timeout", re.IGNORECASE)
#: seconds; with a shorter lock_timeout or statement_timeout, no tripwire is set
_PATIENCE = 0.1
#: first words of statements after which the session must not be queried yet: the next statement may have to come first
_FIRST_IN_TRANSACTION = frozenset({"SET", "BEGIN", "START"})


@dataclass(slots=True)
class Tracing:
    """What was traced so far."""

    statements: tuple[TracedStatement, ...] = ()
    #: the last error that is not just "current transaction is aborted", which Alembic's batches can raise instead
    error: DBAPIError | None = None


@dataclass(slots=True)
class _Session:
    """A connection of the migration."""

    pid: int
    version: int
    before: SessionCounts | None = None  #: at the end of its last statement, if its transaction held a strong lock then


@dataclass(slots=True)
class _Running:
    """A statement that has begun and not ended."""

    text: str
    line: int
    session: _Session | None
    before: SessionCounts | None = None
    published: float | None = None  #: when its session published its earlier counts, if it commits by itself
    tripwire: Tripwire | None = None
    began: float = field(default_factory=time.perf_counter)


@contextmanager
def tracing(observer: Connection, tables: Sequence[Table], revision_file: Path) -> Iterator[Tracing]:
    """Trace the statements of a revision that is applied in this process within the block.

    Args:
        observer: our own autocommit connection (psycopg) to the scratch database; two more like it are opened.
        tables: the tables that exist before the revision; locks on others are ignored.
        revision_file: only statements that this file causes are traced.
    """
    with observer.engine.connect() as first, observer.engine.connect() as second:
        raw = [connection.connection.driver_connection for connection in (observer, first, second)]
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
    """The hooks of ``tracing()``."""

    def __init__(self, raw: Sequence[Any], pool: object, tables: Sequence[Table], file: Path) -> None:
        self.traced = Tracing()
        self._observer: Raw = raw[0]
        self._tripwire_sessions: Sequence[Raw] = raw[1:]
        self._pool = pool
        self._names = {table.oid: str(table) for table in tables}
        self._oids = oids([table.oid for table in tables])
        self._file = file.resolve()
        self._files: dict[str, bool] = {}
        self._server = tuple(ask(self._observer, statement("scratch/trace_server"))[0][1:])
        self._info_key = object()  #: key in a connection's ``info``: its _Session
        self._running: dict[int, _Running] = {}

    def before(self, conn: Connection, _cursor: Any, text: str, *_: Any) -> None:
        """Prepare to trace a statement."""
        line = None if conn.engine.pool is self._pool else self._line()
        if line is None:
            return
        running = _Running(text, line, None)
        if can_lock(text) and (session := self._session(conn)):
            running.session = session
            if _autocommit(conn) and not self._in_transaction(session):
                self._arm(conn, running, session)
            else:
                session.before = running.before = session.before or self._counts(conn)
        elif session := self._cached_session(conn):
            running.session, running.before = session, session.before
        self._running[id(conn)] = running
        running.began = time.perf_counter()

    def after(self, conn: Connection, _cursor: Any, text: str, *_: Any) -> None:
        """Record what a statement did."""
        running = self._running.pop(id(conn), None)
        if running is None:
            return
        seconds = time.perf_counter() - running.began
        if running.session is None and first_word(text) not in _FIRST_IN_TRANSACTION:
            running.session = self._session(conn)
        if running.session is None:
            return
        counts: SessionCounts | None = None
        locks, waited = running.tripwire.end() if running.tripwire else ({}, 0.0)
        if running.published is not None:
            counts = self._counts(conn)
        else:
            state, locks = self._state_and_locks(running.session)
            # Reading the counts costs as much as a small statement, and without a strong lock they are not needed.
            if any(mode in STRONG_MODES for mode in locks.values()):
                counts = self._counts(conn)
            running.session.before = counts if state == "idle in transaction" else None
        self._record(running, locks, _work(running, counts), max(seconds - waited, 0.0))

    def failed(self, context: Any) -> None:
        """Record a statement that failed: its work is undone, and its session cannot be queried."""
        running = self._running.pop(id(context.connection), None)
        error = context.sqlalchemy_exception
        if running and isinstance(error, DBAPIError) and sqlstate(error) != FAILED_TRANSACTION:
            self.traced.error = error
        if running is None or running.session is None:
            return
        seconds = time.perf_counter() - running.began
        locks, waited = running.tripwire.end() if running.tripwire else ({}, 0.0)
        running.session.before = None
        self._record(running, locks, {}, max(seconds - waited, 0.0))

    def transaction_ended(self, conn: Connection) -> None:
        """Forget the counts of a transaction that has ended."""
        if session := self._cached_session(conn):
            session.before = None

    def close(self) -> None:
        """Release the tripwires of statements that have not ended."""
        for running in self._running.values():
            if running.tripwire:
                running.tripwire.end()

    def _arm(self, conn: Connection, running: _Running, session: _Session) -> None:
        # The session publishes its earlier counts, so that everything counted afterwards belongs to the statement.
        running.published = time.perf_counter()
        flush = "pg_catalog.pg_stat_force_next_flush()" if session.version >= 150000 else "NULL"
        rows = query_own_session(conn, statement("scratch/trace_patience", seconds=str(_PATIENCE), flush=flush))
        running.before = self._counts(conn)
        if rows and rows[0][0] and running.before is not None and not _IMPATIENT.search(running.text):
            running.tripwire = Tripwire(self._observer, self._tripwire_sessions, session.pid, list(self._names))

    def _record(self, running: _Running, locks: dict[int, str], work: dict[int, str], seconds: float) -> None:
        names = self._names
        self.traced.statements += (
            TracedStatement(
                statement=running.text,
                line=running.line,
                seconds=seconds,
                locks=tuple((names[table], locks[table]) for table in names if table in locks),
                work=tuple((names[table], work[table]) for table in names if table in work),
            ),
        )

    def _line(self) -> int | None:
        """Return the line of the revision that causes the current statement; None if another file does."""
        frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the only way to find it
        while frame is not None:
            name = frame.f_code.co_filename
            if name not in self._files:
                self._files[name] = not name.startswith("<") and Path(name).resolve() == self._file
            if self._files[name]:
                return frame.f_lineno
            frame = frame.f_back
        return None

    def _cached_session(self, conn: Connection) -> _Session | None:
        session = None if conn.closed or conn.invalidated else conn.info.get(self._info_key)
        return session if isinstance(session, _Session) else None

    def _session(self, conn: Connection) -> _Session | None:
        """Return the session of a connection, querying it the first time; None if it is in another database."""
        if self._info_key not in conn.info:
            rows = query_own_session(conn, statement("scratch/trace_server")) or [(None,)]
            same_database = tuple(rows[0][1:]) == self._server
            conn.info[self._info_key] = _Session(rows[0][0], rows[0][1]) if same_database else None
        return self._cached_session(conn)

    def _state_and_locks(self, session: _Session) -> tuple[str | None, dict[int, str]]:
        rows = ask(self._observer, statement("scratch/trace_session", pid=str(session.pid), tables=self._oids))
        return (rows[0][0] if rows else None), strongest([(row[1], MODES[row[2]]) for row in rows if row[1]])

    def _in_transaction(self, session: _Session) -> bool:
        return self._state_and_locks(session)[0] != "idle"

    def _counts(self, conn: Connection) -> SessionCounts | None:
        return read_counts(conn, self._oids)


def _work(running: _Running, counts: SessionCounts | None) -> dict[int, str]:
    if counts is None or running.before is None:
        return {}
    seconds = None if running.published is None else time.perf_counter() - running.published
    return work_between(running.text, running.before, counts, seconds=seconds)


def _autocommit(conn: Connection) -> bool:
    return bool(getattr(conn.connection.dbapi_connection, "autocommit", False))
