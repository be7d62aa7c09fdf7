"""The only place that waits, retries, sets timeouts, takes the advisory lock and names blockers.

Everything runs on the caller's one connection, in autocommit, with transactions spelled out: a second
connection that holds anything can hang our own index build, and the deadlock detector does not see it (F11).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import Blocked
from dupe_audit.postgres.driver import execute, require_autocommit, tidy
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.sqlstates import DEADLOCK, LOCK_NOT_AVAILABLE, sqlstate
from dupe_audit.statements import literal, statement

T = TypeVar("T")

log = logging.getLogger("alembic.dupe_audit")

#: first half of the two-part advisory key, the second is the table's oid: the bytes "dupe"
LOCK_NAMESPACE = 0x64757065

#: the same for the sign that a directive is at work: shared, so it keeps nobody away and nobody waits for it
AT_WORK_NAMESPACE = LOCK_NAMESPACE + 1

#: what a role may have set that would end a step between or inside its statements
UNHURRIED = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}


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
    execute(connection, f"BEGIN ISOLATION LEVEL {isolation} {'READ ONLY' if read_only else 'READ WRITE'}")
    try:
        execute(connection, _set_config(settings, local=True))
        yield
        execute(connection, "COMMIT")
    except BaseException:
        tidy(connection, "ROLLBACK")
        raise


def _set_config(settings: Mapping[str, str], *, local: bool) -> str:
    calls = (
        f"pg_catalog.set_config({literal(name)}, {literal(value)}, {'true' if local else 'false'})"
        for name, value in settings.items()
    )
    return f"SELECT {', '.join(calls)}"


@contextmanager
def settings(connection: Connection, values: Mapping[str, str], *, local: bool = False) -> Iterator[None]:
    """Make settings for some statements, of the session or of the transaction; put them back on every exit (F23)."""
    names = ", ".join(f"pg_catalog.current_setting({literal(name)}, true) AS {name}" for name in values)
    before = {k: v for k, v in execute(connection, f"SELECT {names}").mappings().one().items() if v is not None}
    try:
        execute(connection, _set_config({k: v for k, v in values.items() if k in before}, local=local))
        yield
    finally:
        tidy(connection, _set_config(before, local=local))


@contextmanager
def step(connection: Connection) -> Iterator[None]:
    """Work on the connection as a step does: in autocommit, interruptible, under no timeout of the role's (H56).

    Raises:
        WrongUsage: the connection is inside a transaction that somebody else opened.
    """
    require_autocommit(connection)
    with interruptible(connection), settings(connection, UNHURRIED):
        yield


def holders(connection: Connection, relid: int) -> str:
    """Return who holds locks on the table: pid, how long, what state; never the query, which can hold data."""
    rows = execute(connection, statement("holders", relid=str(relid))).mappings().all()
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
    patience = Patience(give_up_after, pause=0.2)
    while not execute(connection, f"SELECT pg_catalog.pg_try_advisory_lock({key})").scalar_one():
        pid = execute(
            connection, statement("run_lock_holder", namespace=str(LOCK_NAMESPACE), relid=str(relid))
        ).scalar()
        if patience.exhausted:
            raise Blocked(
                f"Another run works on this table (pid {pid}) and did not end within {give_up_after}. "
                f"Wait for it; if its client is gone, end it: SELECT pg_terminate_backend({pid}); then run this again."
            )
        patience.log("waiting for another run on this table (pid %s)", pid)
        patience.rest()
    try:
        with interruptible(connection):
            yield
    finally:
        tidy(connection, f"SELECT pg_catalog.pg_advisory_unlock({key})")


@contextmanager
def at_work(connection: Connection, relid: int) -> Iterator[None]:
    """Show beside the run lock, and between two of them, that a directive is at work: ``dupe-audit watch`` reads it."""
    key = f"{AT_WORK_NAMESPACE}, {relid if relid < 2**31 else relid - 2**32}"
    execute(connection, f"SELECT pg_catalog.pg_try_advisory_lock_shared({key})")
    try:
        yield
    finally:
        tidy(connection, f"SELECT pg_catalog.pg_advisory_unlock_shared({key})")


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
    patience = Patience(give_up_after, pause=0.1, growth=1.6, jitter=True)
    while True:
        try:
            return action()
        except DBAPIError as error:
            if sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK):
                raise
        blockers, tries = holders(connection, relid), patience.tries + 1
        if patience.exhausted:
            raise Blocked(
                f"Could not {what}: no lock within {give_up_after}, {tries} tries of {lock_timeout}. "
                f"Holding the table now: {blockers}. End or wait for them, then run the same command again; "
                "it continues where it stopped."
            )
        patience.log("waiting to %s (try %d); holding the table: %s", what, tries, blockers)
        patience.rest()


def replica_lag(connection: Connection) -> float | None:
    """Return the seconds by which the slowest standby replays late; None where this cannot be seen (H194)."""
    value = execute(
        connection,
        "SELECT extract(epoch FROM max(replay_lag))::float8 FROM pg_catalog.pg_stat_replication",
    ).scalar()
    return None if value is None else float(value)


def wait_for_replicas(connection: Connection, limit: float, *, give_up_after: str = "1h") -> None:
    """Rest until no standby is more than *limit* seconds behind.

    Raises:
        Blocked: a standby stayed further behind for *give_up_after*.
    """
    patience = Patience(give_up_after, pause=1.0)
    while (lag := replica_lag(connection)) is not None and lag > limit:
        if patience.exhausted:
            raise Blocked(
                f"A standby stayed {lag:.1f} s behind for {give_up_after}. Repair replication, then run this again."
            )
        patience.log("a standby is %.1f s behind (limit %.1f s); resting", lag, limit)
        patience.rest()
