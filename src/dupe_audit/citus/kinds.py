"""What kind of table Citus makes of a table, and what a key or a rule cannot do there."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement

_CATALOG = "pg_catalog.pg_dist_partition"


@dataclass(frozen=True, slots=True, kw_only=True)
class CitusTable:
    """A table that Citus manages."""

    kind: str  #: distributed, reference or Citus-local, or a kind that is not supported
    distribution_column: str | None  #: of a distributed table

    @property
    def is_sharded(self) -> bool:
        """Whether its rows are divided among shards by a column."""
        return self.kind == "distributed"


def find_citus(connection: Connection, relid: int) -> CitusTable | None:
    """Return what Citus makes of a table; None for a table that Citus does not manage."""
    if not execute(connection, statement("relation_exists", name=literal(_CATALOG))).scalar_one():
        return None
    row = execute(connection, statement("citus_kind", relid=str(relid))).mappings().one_or_none()
    return None if row is None else CitusTable(**row)


def obstacles(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return why a key of a table that Citus manages cannot be cleaned or enforced; empty for any other table."""
    table = find_citus(connection, relation.relid)
    if table is None:
        return []
    supported = table.kind in ("distributed", "reference", "Citus-local")
    reasons = _rule_obstacles(key, rule, table) if supported else _UNKNOWN
    reasons = reasons or _catalog_obstacles(connection, relation, table)
    reasons = reasons or _cluster_obstacles(connection, relation, table)
    kind = f"{'an' if table.kind.startswith('append') else 'a'} {table.kind} table"
    if table.distribution_column:
        kind += f", distributed by {table.distribution_column}"
    return [finding("citus-table", f"{kind}: {reason}", table=relation.name) for reason in reasons]


_UNKNOWN = ["only tables distributed by the hash of a column, reference tables and Citus-local tables are supported"]


def _rule_obstacles(key: UniqueKey, rule: CleanupRule, table: CitusTable) -> list[str]:
    """Return what a key or a rule asks for and does not get on a table of this kind."""
    reasons = []
    if rule.changes_rows:
        reasons.append("extras can be archived there, but not amended or merged")
    if rule.references == "repoint":
        reasons.append("children cannot be pointed at the survivor there")
    if table.is_sharded and table.distribution_column not in key.names:
        reasons.append(
            f"a unique key has to contain the distribution column {table.distribution_column}, because no node sees "
            "another node's rows"
        )
    if not key.is_plain or any(part.expression for part in rule.orderings):
        reasons.append("its key and its order_by can contain only columns")
    return reasons


def _catalog_obstacles(connection: Connection, relation: Relation, table: CitusTable) -> list[str]:
    """Return what about the table itself stands in the way."""
    row = execute(connection, statement("citus_relation", relid=str(relation.relid))).one()
    if row.partitioned:
        return ["partitioned tables of Citus are not supported"]
    if not row.has_primary_key:
        return ["it has no primary key, the only identity of a row that holds on every node"]
    if table.is_sharded and row.foreign_keys:
        return [f"foreign keys reference it ({row.foreign_keys}), and children on other nodes cannot be found"]
    if row.acting_foreign_keys:
        return [f"deleting its rows would also change rows of other tables ({row.acting_foreign_keys})"]
    return []


def _cluster_obstacles(connection: Connection, relation: Relation, table: CitusTable) -> list[str]:
    """Return what about the cluster stands in the way."""
    row = execute(connection, statement("citus_place", relid=str(relation.relid))).one()
    if not row.on_coordinator:
        return ["this session is connected to a worker; connect to the coordinator"]
    if table.is_sharded and row.replicated:
        return ["its shards have several copies (citus.shard_replication_factor)"]
    if not table.is_sharded and not row.has_copy:
        return ["the coordinator has no copy of it: SELECT citus_set_coordinator_host('HOST', PORT);"]
    return []
