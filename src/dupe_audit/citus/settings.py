"""Settings that reach the other nodes."""

from __future__ import annotations

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement


def propagated(lock_timeout: str) -> list[str]:
    """Return statements by which a lock timeout holds on every node until the transaction ends.

    Without them it holds on the coordinator alone, and a wait on a worker has no limit.
    """
    return [
        "SET LOCAL citus.propagate_set_commands = 'local'",
        f"SET LOCAL lock_timeout = '{lock_timeout}'",
    ]


def build_progress(connection: Connection) -> str:
    """Return the query that reports how far the build of this connection is, on the node where it waits."""
    gpid = execute(connection, statement("citus_backend_gpid")).scalar_one()
    pids = statement("citus_pids_of_build", own=literal(f"citus_internal gpid={gpid}"))
    progress = statement("build_progress", pid=f"ANY ({pids})")
    on_node = statement("citus_build_progress_of_node", progress_query=progress)
    return statement("citus_build_progress", on_node=literal(on_node))


def propagate(connection: Connection, lock_timeout: str) -> None:
    """Let the lock timeout of the open transaction hold on every node."""
    for sql in propagated(lock_timeout):
        execute(connection, sql)
