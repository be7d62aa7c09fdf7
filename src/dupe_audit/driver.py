"""One statement at a time through whatever PostgreSQL driver the user's ``env.py`` has; its errors in plain words."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError, Interrupted, WrongUsage

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK = "40P01"
UNIQUE_VIOLATION = "23505"
QUERY_CANCELED = "57014"


class _Interrupt:
    """Ctrl-C or SIGTERM that arrived, and whether a statement runs that has to be cancelled for it."""

    signal: int | None = None
    busy: bool = False

    def check(self, cause: BaseException | None = None) -> None:
        if self.signal is not None:
            self.signal = None
            raise Interrupted(
                "Interrupted. What is committed is safe; run the same command again and it continues where it stopped."
            ) from cause


_interrupt = _Interrupt()


def run(connection: Connection, sql: str) -> CursorResult[Any]:
    """Run one complete statement through the simple protocol, whatever the driver.

    Raises:
        Interrupted: the user stopped the work; statements that clean up can follow.
        sqlalchemy.exc.DBAPIError: as the driver reports; ``sqlstate`` reads its code.
    """
    _interrupt.check()
    _interrupt.busy = True
    try:
        return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
    except DBAPIError as error:
        if sqlstate(error) == QUERY_CANCELED:
            _interrupt.check(error)
        raise
    finally:
        _interrupt.busy = False


def tidy(connection: Connection, sql: str) -> None:
    """Run a statement that puts something back on the way out; an interrupt waits for it."""
    with suppress(Exception):  # a lost connection has lost its locks and settings too
        connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def rest(seconds: float) -> None:
    """Sleep outside any transaction, and wake up for an interrupt.

    Raises:
        Interrupted: the user stopped the work.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        _interrupt.check()
        time.sleep(min(left, 0.2))


@contextmanager
def interruptible(connection: Connection) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a cancelled statement and an orderly end.

    A KeyboardInterrupt inside the driver would cost the connection, and with it the chance to remove an
    unfinished index, which goes on rejecting the application's writes (H48).
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    driver = connection.connection.driver_connection
    cancel = getattr(driver, "cancel_safe", None) or getattr(driver, "cancel", None)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        _interrupt.signal = number
        if _interrupt.busy and cancel:
            with suppress(Exception):  # a lost connection has nothing left to cancel
                cancel()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
        _interrupt.check()  # one that came too late for any statement
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE behind *error*, for psycopg 3, psycopg2, asyncpg and pg8000 alike."""
    origin = getattr(error, "orig", None) or error
    for attribute in ("sqlstate", "pgcode"):
        if code := getattr(origin, attribute, None):
            return str(code)
    details = origin.args[0] if getattr(origin, "args", None) else None
    return str(details["C"]) if isinstance(details, dict) and "C" in details else None


def reason(error: BaseException) -> str:
    """Return the server's one-line reason, without the DETAIL line, which can hold key values (H200)."""
    origin = getattr(error, "orig", None) or error
    primary = getattr(getattr(origin, "diag", None), "message_primary", None)
    text = str(primary or origin).strip()
    return text.splitlines()[0] if text else type(origin).__name__


def server_version(connection: Connection) -> int:
    """Return the server's version as a number, such as 150020."""
    return int(run(connection, "SHOW server_version_num").scalar_one())


def pooler(connection: Connection) -> str | None:
    """Return the sign of a connection pooler between us and the server, or None.

    The server's protocol greets with the backend's pid; a pooler greets with a number of its own (H171).
    """
    driver = connection.connection.driver_connection
    greeted = getattr(getattr(driver, "info", None), "backend_pid", None)
    seen = {run(connection, "SELECT pg_catalog.pg_backend_pid()").scalar_one() for _ in range(2)}
    if len(seen) > 1:
        return "two statements were answered by different backends"
    if greeted and greeted not in seen:
        return "the backend that answers is not the one that greeted us"
    return None


def require_autocommit(connection: Connection) -> None:
    """Refuse a connection on which BEGIN and COMMIT would not be ours to say.

    Raises:
        WrongUsage: the connection is inside a transaction that somebody else opened (H166, H167).
    """
    driver = connection.connection.driver_connection
    if getattr(driver, "autocommit", None) is False:
        raise WrongUsage(
            "The connection is not in autocommit mode. Give it execution_options(isolation_level='AUTOCOMMIT')."
        )


def friendly(error: DBAPIError, doing: str) -> DupeAuditError:
    """Return *error* as one paragraph that says what to do next."""
    code = sqlstate(error) or ""
    hints = {
        "42501": "Connect as the table's owner, or have the owner grant what is named.",
        "25006": "The session is read-only: connect to the primary, or reset default_transaction_read_only.",
        "53100": "Make room on the server's disk, then run the same command again.",
        "53400": "A configured limit was reached; raise it for this role, then run the same command again.",
        "57014": "Somebody cancelled the statement; run the same command again, it continues.",
        "55P03": "Another session holds the table; wait for it, then run the same command again.",
        "42P01": "Check the schema and table name.",
    }
    hint = hints.get(code)
    if hint is None and (code.startswith(("08", "57P")) or error.connection_invalidated):
        hint = "The connection was lost. What is committed is safe: run the same command again, it continues."
    hint = hint or "Run it again once the cause is gone."
    return DupeAuditError(f"{doing} failed: {reason(error)} (SQLSTATE {code or 'unknown'}). {hint}")
