"""Settings that reach the other nodes."""

from __future__ import annotations

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute


def propagated(lock_timeout: str) -> list[str]:
    """Return statements by which a lock timeout holds on every node until the transaction ends.

    Without them it holds on the coordinator alone, and a wait on a worker has no limit.
    """
    return [
        "SET LOCAL citus.propagate_set_commands = 'local'",
        f"SET LOCAL lock_timeout = '{lock_timeout}'",
    ]


def propagate(connection: Connection, lock_timeout: str) -> None:
    """Let the lock timeout of the open transaction hold on every node."""
    for sql in propagated(lock_timeout):
        execute(connection, sql)
