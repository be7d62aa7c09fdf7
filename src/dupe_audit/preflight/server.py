"""What is judged before anything else: the server's product, a pooler in front of it, and what manages the table."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.poolers import pooler
from dupe_audit.postgres.products import product_of
from dupe_audit.statements import statement


def server_findings(connection: Connection) -> list[Finding]:
    """Return what is wrong with the server or the connection to it, without changing a setting of the session.

    Through a pooler in transaction mode, settings would reach the sessions of other clients.
    """
    product = product_of(connection)
    return [product] if product else pooler_findings(connection)


def pooler_findings(connection: Connection) -> list[Finding]:
    """Return a finding if a connection pooler is between us and the server, with where to connect instead."""
    detected = pooler(connection)
    if detected is None:
        return []
    general = finding("transaction-pooler", detected.sign)
    return [replace(general, help=f"{detected.advice} {general.help}") if detected.advice else general]


def timescaledb_findings(connection: Connection, relation: Relation) -> list[Finding]:
    """Return a finding if TimescaleDB manages the table, as a hypertable or a chunk; then no other check applies."""
    if not execute(connection, statement("hypertable_catalog")).scalar_one():
        return []
    kinds = execute(connection, statement("hypertable_kind", relid=str(relation.relid))).scalars()
    return [finding("timescaledb-table", kind, table=relation.name) for kind in kinds]
