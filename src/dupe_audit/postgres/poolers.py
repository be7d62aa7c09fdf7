"""Detect a connection pooler between the client and the server."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.hosts import (
    POSTGRESQL,
    Pooler,
    advice_for,
    documented_pooler,
    keeps_sessions,
    suspected_pooler,
)
from dupe_audit.statements import statement


def pooler(connection: Connection) -> Pooler | None:
    """Return the pooler that is between us and the server; None if nothing shows one.

    A server greets with the pid of its backend; a pooler greets with its own number (H171). The hosts of some
    services reveal a pooler before anything is sent.
    """
    host, port, user = address(connection)
    if documented := documented_pooler(host, port, user):
        return documented
    pids = {execute(connection, statement("backend_pid")).scalar_one() for _ in range(2)}
    if len(pids) > 1:
        return Pooler("two statements were answered by different backends", advice_for(port))
    info = getattr(connection.connection.driver_connection, "info", None)
    greeted = getattr(info, "backend_pid", None)
    if not greeted:  # the driver does not say, so only the port is left
        return suspected_pooler(port)
    if greeted not in pids and not keeps_sessions(host, port):
        return Pooler("the backend that answers is not the one that accepted the connection", advice_for(port))
    return None


def address(connection: Connection) -> tuple[str, int, str]:
    """Return host, port and role of a connection, whatever its driver; without a host, an empty one."""
    info: Any = getattr(connection.connection.driver_connection, "info", None)
    if hasattr(info, "host"):
        return info.host or "", int(info.port or POSTGRESQL), info.user or ""
    url = connection.engine.url
    return url.host or "", url.port or POSTGRESQL, url.username or ""
