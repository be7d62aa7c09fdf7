"""Hosts and ports at which a service documents a connection pooler, and where else to connect."""

from __future__ import annotations

import re
from typing import NamedTuple


class Pooler(NamedTuple):
    """A connection pooler between the client and the server."""

    sign: str  #: what shows it, as a message names it
    advice: str  #: where to connect instead; empty if nothing is known about the host


_NEON = re.compile(r"\.neon\.(tech|build)$")
_SUPABASE_SHARED = re.compile(r"\.pooler\.supabase\.com$")
_SUPABASE = re.compile(r"\.supabase\.co$")
_RDS_PROXY = re.compile(r"\.proxy-[^.]+\.[^.]+\.rds\.amazonaws\.com(\.cn)?$")

#: at which Supabase, and Supavisor where it is self-hosted, gives each transaction to any backend
SUPABASE_TRANSACTIONS = 6543
#: at which PostgreSQL listens unless it is configured otherwise
POSTGRESQL = 5432
#: at which PgBouncer listens unless it is configured otherwise
PGBOUNCER = 6432


def documented_pooler(host: str, port: int, user: str = "") -> Pooler | None:
    """Return the pooler in transaction mode that a service documents for an address; None if there is none.

    Args:
        host: as the client was given it.
        port: of the connection.
        user: name of the role, which contains the project at Supabase.
    """
    host = host.lower().rstrip(".")
    if "-pooler." in host:
        whose = "Neon's pooler" if _NEON.search(host) else "a pooler by its name"
        return Pooler(f"host {host} is {whose}", f"Use the direct host: {host.replace('-pooler.', '.', 1)}.")
    if _SUPABASE_SHARED.search(host) and port == SUPABASE_TRANSACTIONS:
        project = user.partition(".")[2]
        direct = f"db.{project}.supabase.co" if project else "db.PROJECT.supabase.co"
        return Pooler(
            f"port {port} of {host} is Supabase's pooler in transaction mode",
            f"Use the direct host, {direct}, port 5432. If your network cannot reach its IPv6 address, use "
            f"port 5432 of {host}, which is the same pooler in session mode.",
        )
    if _SUPABASE.search(host) and port == SUPABASE_TRANSACTIONS:
        return Pooler(f"port {port} of {host} is Supabase's dedicated pooler", f"Use port 5432 of {host}.")
    if _RDS_PROXY.search(host):
        return Pooler(
            f"host {host} is an RDS Proxy",
            "Use the endpoint of the DB instance, or of the cluster's writer. RDS Proxy would notice the first setting "
            "of the session and keep its backend, but it also ends idle clients and connections that live too long.",
        )
    return None


def suspected_pooler(port: int) -> Pooler | None:
    """Return the pooler that a port suggests on a host that no service documents; None if it suggests nothing."""
    if port == SUPABASE_TRANSACTIONS:
        return Pooler(
            f"port {port} is that of Supabase's pooler in transaction mode",
            "With Supabase or Supavisor, use port 5432; otherwise, connect to the server itself.",
        )
    return None


def advice_for(port: int) -> str:
    """Return where to connect instead of a pooler that only its behaviour shows; empty if its port says nothing."""
    if port == PGBOUNCER:
        return "PgBouncer listens on port 6432; the server itself usually does on 5432."
    suspected = suspected_pooler(port)
    return suspected.advice if suspected else ""


def keeps_sessions(host: str, port: int) -> bool:
    """Return whether a service documents that each client at an address has one backend for its whole session.

    Its proxy still greets clients with its own number, as a pooler does.
    """
    host = host.lower().rstrip(".")
    direct_neon = _NEON.search(host) is not None and "-pooler." not in host
    shared_supabase = _SUPABASE_SHARED.search(host) is not None and port != SUPABASE_TRANSACTIONS
    return direct_neon or shared_supabase
