"""Tables that Citus manages: what kind each is, and the shards of a distributed one."""

from dupe_audit.citus.kinds import CitusTable, find_citus, obstacles
from dupe_audit.citus.restoring import MOST_ROWS, RowsDifferOnCitus, put_back
from dupe_audit.citus.settings import propagate, propagated
from dupe_audit.citus.shards import Shard, ShardConnection, ShardFailure, on_shards, shards
from dupe_audit.citus.verifying import index_findings, propagate_settings

__all__ = [
    "MOST_ROWS",
    "CitusTable",
    "RowsDifferOnCitus",
    "Shard",
    "ShardConnection",
    "ShardFailure",
    "find_citus",
    "index_findings",
    "obstacles",
    "on_shards",
    "propagate",
    "propagate_settings",
    "propagated",
    "put_back",
    "shards",
]
