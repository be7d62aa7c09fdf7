"""The only place that waits, retries, sets timeouts, takes the advisory lock and names blockers.

Everything runs on the caller's one connection, in autocommit, with transactions spelled out: a second
connection that holds anything can hang our own index build, and the deadlock detector does not see it (F11).
"""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import Blocked, DupeAuditError, Interrupted, WrongUsage
from dupe_audit.model import milliseconds
from dupe_audit.statements import literal, statement

T = TypeVar("T")

log = logging.getLogger("alembic.dupe_audit")

#: first half of the two-part advisory key, the second is the table's oid: the bytes "dupe"
LOCK_NAMESPACE = 0x64757065

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK = "40P01"
SERIALIZATION_FAILURE = "40001"
UNIQUE_VIOLATION = "23505"
QUERY_CANCELED = "57014"

#: seconds between two log lines about the same wait
LOG_EVERY = 5.0


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


@contextmanager
def transaction(
    connection: Connection,
    *,
    lock_timeout: str = "500ms",
    isolation: str = "READ COMMITTED",
    read_only: bool = False,
    local: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """One transaction whose outcome no default of the role, database or URL can change (H19, H56, H79)."""
    settings = {
        "lock_timeout": lock_timeout,
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        # Rows hidden by a policy would be missed in silence; with off the server says so instead (H111).
        "row_security": "off",
        **(local or {}),
    }
    run(connection, f"BEGIN ISOLATION LEVEL {isolation} {'READ ONLY' if read_only else 'READ WRITE'}")
    try:
        run(connection, _set_config(settings, local=True))
        yield
        run(connection, "COMMIT")
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            run(connection, "ROLLBACK")
        raise


def _set_config(settings: Mapping[str, str], *, local: bool) -> str:
    calls = (
        f"pg_catalog.set_config({literal(name)}, {literal(value)}, {'true' if local else 'false'})"
        for name, value in settings.items()
    )
    return f"SELECT {', '.join(calls)}"


@contextmanager
def settings(connection: Connection, values: Mapping[str, str]) -> Iterator[None]:
    """Session settings for statements that cannot run in a transaction; put back on every exit (F23)."""
    names = ", ".join(f"pg_catalog.current_setting({literal(name)}, true) AS {name}" for name in values)
    before = {k: v for k, v in run(connection, f"SELECT {names}").mappings().one().items() if v is not None}
    try:
        run(connection, _set_config({k: v for k, v in values.items() if k in before}, local=False))
        yield
    finally:
        with suppress(Exception):  # a lost connection has lost its settings too
            run(connection, _set_config(before, local=False))


def holders(connection: Connection, relid: int) -> str:
    """Return who holds locks on the table: pid, how long, what state; never the query, which can hold data."""
    rows = run(connection, statement("holders", relid=str(relid))).mappings().all()
    named: dict[object, str] = {}
    for row in rows:
        if row["pid"] is None:
            named[row["gid"]] = f"prepared transaction {row['gid']!r} ({row['mode']})"
        else:
            who = row["application_name"] or row["usename"] or "another role"
            named.setdefault(
                row["pid"], f"pid {row['pid']} ({who}, {row['state']}, open for {row['seconds']} s, {row['mode']})"
            )
    return "; ".join(named.values()) or "nobody who still holds a lock now"


@contextmanager
def run_lock(connection: Connection, relid: int, *, give_up_after: str = "10min") -> Iterator[None]:
    """One runner a table: a session advisory lock, polled, never waited for.

    Waiting inside ``pg_advisory_lock`` holds a snapshot, and deadlocks with the build that its holder runs.

    Raises:
        Blocked: another runner, or the backend that a killed one left behind, kept it for *give_up_after*.
    """
    key = f"{LOCK_NAMESPACE}, {relid if relid < 2**31 else relid - 2**32}"
    deadline = time.monotonic() + milliseconds(give_up_after) / 1000
    said = 0.0
    while not run(connection, f"SELECT pg_catalog.pg_try_advisory_lock({key})").scalar_one():
        pid = run(
            connection,
            "SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted "
            f"AND classid = {LOCK_NAMESPACE} AND objid = {relid} AND objsubid = 2",
        ).scalar()
        if time.monotonic() > deadline:
            raise Blocked(
                f"Another run works on this table (pid {pid}) and did not end within {give_up_after}. "
                f"Wait for it; if its client is gone, end it: SELECT pg_terminate_backend({pid}); then run this again."
            )
        if time.monotonic() - said > LOG_EVERY:
            said = time.monotonic()
            log.info("waiting for another run on this table (pid %s)", pid)
        rest(0.2)
    try:
        with interruptible(connection):
            yield
    finally:
        with suppress(Exception):  # a lost connection has lost its locks too
            run(connection, f"SELECT pg_catalog.pg_advisory_unlock({key})")


def retrying(
    connection: Connection,
    action: Callable[[], T],
    *,
    relid: int,
    what: str,
    lock_timeout: str,
    give_up_after: str,
) -> T:
    """Try *action*, which takes a short strong lock, until it gets it or the total limit is over.

    The pauses grow and are jittered, so that traffic drains between tries. There is no last try
    without a timeout: that is an outage by design (H76).

    Raises:
        Blocked: the lock was not had within *give_up_after*; the message names who held it.
    """
    deadline = time.monotonic() + milliseconds(give_up_after) / 1000
    pause, tries, said = 0.1, 0, 0.0
    while True:
        tries += 1
        try:
            return action()
        except DBAPIError as error:
            if sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK):
                raise
        blockers = holders(connection, relid)
        if time.monotonic() + pause > deadline:
            raise Blocked(
                f"Could not {what}: no lock within {give_up_after}, {tries} tries of {lock_timeout}. "
                f"Holding the table now: {blockers}. End or wait for them, then run the same command again; "
                "it continues where it stopped."
            )
        if time.monotonic() - said > LOG_EVERY:
            said = time.monotonic()
            log.info("waiting to %s (try %d); holding the table: %s", what, tries, blockers)
        rest(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
        pause = min(pause * 1.6, 10.0)


def replica_lag(connection: Connection) -> float | None:
    """Return the seconds by which the slowest standby replays late; None where this cannot be seen (H194)."""
    value = run(
        connection,
        "SELECT extract(epoch FROM max(replay_lag))::float8 FROM pg_catalog.pg_stat_replication",
    ).scalar()
    return None if value is None else float(value)


def wait_for_replicas(connection: Connection, limit: float, *, give_up_after: str = "1h") -> None:
    """Rest until no standby is more than *limit* seconds behind.

    Raises:
        Blocked: a standby stayed further behind for *give_up_after*.
    """
    deadline = time.monotonic() + milliseconds(give_up_after) / 1000
    said = 0.0
    while (lag := replica_lag(connection)) is not None and lag > limit:
        if time.monotonic() > deadline:
            raise Blocked(
                f"A standby stayed {lag:.1f} s behind for {give_up_after}. Repair replication, then run this again."
            )
        if time.monotonic() - said > LOG_EVERY:
            said = time.monotonic()
            log.info("a standby is %.1f s behind (limit %.1f s); resting", lag, limit)
        rest(1.0)


def friendly(error: DBAPIError, doing: str) -> DupeAuditError:
    """Return *error* as one paragraph that says what to do next."""
    code = sqlstate(error) or ""
    hints = {
        "42501": "Connect as the table's owner, or have the owner grant what is named.",
        "25006": "The session is read-only: connect to the primary, or reset default_transaction_read_only.",
        "53100": "Make room on the server's disk, then run the same command again.",
        "53400": "A configured limit was reached; raise it for this role, then run the same command again.",
        "57014": "Somebody cancelled the statement; run the same command again, it continues.",
        "42P01": "Check the schema and table name.",
    }
    hint = hints.get(code)
    if hint is None and (code.startswith(("08", "57P")) or error.connection_invalidated):
        hint = "The connection was lost. What is committed is safe: run the same command again, it continues."
    return DupeAuditError(
        f"{doing} failed: {reason(error)} (SQLSTATE {code or 'unknown'}). {hint or 'Run it again once the cause is gone.'}"
    )
