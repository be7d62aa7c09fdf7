"""Whether the index of a key is valid on every shard and copy, which the catalog of the coordinator does not say."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from dupe_audit.citus.kinds import find_citus
from dupe_audit.citus.shards import on_shards, shards
from dupe_audit.findings import Finding, finding
from dupe_audit.model import IndexState, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement


def index_findings(connection: Connection, key: UniqueKey, relation: Relation, state: IndexState) -> list[Finding]:
    """Return a finding for each shard, or copy of a reference table, without a valid index like the table's own.

    Args:
        state: of the index on the coordinator, which is valid.
    """
    form = {
        "definition": literal(state.definition[state.definition.index(" USING ") :]),
        "is_constraint": literal(state.constraint is not None),
        "deferrable": literal(key.deferrable),
    }
    all_shards = shards(connection, relation.relid)
    commands = [(shard, statement("citus_shard_index", shard=literal(shard.name), **form)) for shard in all_shards]
    findings = []
    for shard, answer in zip(all_shards, on_shards(connection, commands), strict=True):
        if not answer.success:
            findings.append(finding("index-not-valid", f"{state.name} on {shard.where}: {answer.message}"))
        elif answer.result != "t":
            findings.append(finding("index-not-valid", f"{state.name} on {shard.where}"))
    return findings


def propagate_settings(connection: Connection, relation: Relation, values: Mapping[str, str]) -> bool:
    """Let planner settings hold on every node for the open transaction; return whether Citus manages the table."""
    if find_citus(connection, relation.relid) is None:
        return False
    for name, value in {"citus.propagate_set_commands": "local", **values}.items():
        execute(connection, f"SET LOCAL {name} = '{value}'")
    return True
