"""Who could have put something into schema dupe_audit on the nodes of a distributed table."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.citus.shards import Shard, read
from dupe_audit.errors import Refused
from dupe_audit.findings import finding
from dupe_audit.statements import literal


def require_trusted_nodes(connection: Connection, of: Iterable[Shard], run_id: int) -> None:
    """Refuse a node on which another role could have prepared the schema, as the coordinator's own is judged (H199).

    Raises:
        Refused: a role that is not trusted owns a part of it, or a part of it would execute something.
    """
    nodes = {(shard.host, shard.port): shard for shard in of}
    queries = []
    for shard in nodes.values():
        relid = f"{literal(shard.name)}::pg_catalog.regclass::pg_catalog.oid"
        queries.append((shard, ledger.trust_sql(relid=relid, run=literal(run_id))))
    problems = [
        f"on {host}:{port}, {row.problem}"
        for (host, port), rows in zip(nodes, read(connection, queries), strict=True)
        for row in rows
    ]
    if problems:
        lead = "The archive on the nodes was not used, and nothing was changed."
        raise Refused([finding("untrusted-ledger", "; ".join(problems[:5]))], lead=lead)
