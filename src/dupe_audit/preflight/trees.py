"""What the catalog says against a constraint of a partitioned table."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding, finding_id
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.trees import locks_to_drop
from dupe_audit.statements import statement, text_array


def tree_findings(
    connection: Connection, key: UniqueKey, relation: Relation, left_out: Collection[str]
) -> list[Finding]:
    """Return what prevents a constraint of the whole tree, or its way back.

    Args:
        left_out: ids of findings about statements that the cleanup does not execute.
    """
    sql = statement("tree_blockers", relid=str(relation.relid), key=text_array(filter(None, key.names)))
    rows = execute(connection, sql).all()
    findings = [finding(finding_id(row.id), row.subject, table=row.table) for row in rows if row.id not in left_out]
    locks = locks_to_drop(connection, relation.relid)
    if locks.needed > locks.capacity:
        subject = f"about {locks.needed:,} locks, and the lock table of this server holds {locks.capacity:,}"
        findings.append(finding("lock-table-too-small", subject, table=relation.name))
    return findings
