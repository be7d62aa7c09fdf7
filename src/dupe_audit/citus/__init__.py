"""Tables that Citus manages: what kind each is, and the shards of a distributed one."""

from dupe_audit.citus.kinds import CitusTable, find_citus, obstacles
from dupe_audit.citus.restoring import MOST_ROWS, RowsDifferOnCitus, batch_size, put_back
from dupe_audit.citus.settings import build_progress, propagate, propagated
from dupe_audit.citus.shard_tables import ShardTable, read_each, shard_tables, violated
from dupe_audit.citus.sharded_restoring import restore_shards
from dupe_audit.citus.shards import (
    RemoteTimeout,
    Shard,
    ShardFailure,
    do_settings,
    on_shards,
    read,
    shards,
    shards_beside,
)
from dupe_audit.citus.trust import require_trusted_nodes
from dupe_audit.citus.verifying import index_findings, propagate_settings

__all__ = [
    "MOST_ROWS",
    "CitusTable",
    "RemoteTimeout",
    "RowsDifferOnCitus",
    "Shard",
    "ShardFailure",
    "ShardTable",
    "batch_size",
    "build_progress",
    "do_settings",
    "find_citus",
    "index_findings",
    "obstacles",
    "on_shards",
    "propagate",
    "propagate_settings",
    "propagated",
    "put_back",
    "read",
    "read_each",
    "require_trusted_nodes",
    "restore_shards",
    "shard_tables",
    "shards",
    "shards_beside",
    "violated",
]
