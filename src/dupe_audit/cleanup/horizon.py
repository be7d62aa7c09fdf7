"""Which rows of a table this process has left free of extras, so that a further cleanup ranks only newer keys.

A complete cleanup leaves no extra behind, so a new extra needs a row version that the ranking's snapshot did not show.
The transaction that wrote it is not older than the oldest one in progress at that snapshot, and a row keeps the id of
its transaction even if it is frozen (PostgreSQL 9.4 and later).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import elements
from dupe_audit.statements import text_array

#: every row is ranked
WHOLE_TABLE = "true"


class Ranking(NamedTuple):
    """The result of a ranking, and when it was taken."""

    extras: int  #: number of staged extras
    whole: bool  #: whether it ranked the whole table
    seconds: float
    oldest_transaction: str  #: id of the oldest transaction in progress at its snapshot
    collides: bool = False  #: whether amended extras can have the key of another row
    arrived: bool = False  #: whether, in a further pass, writers have added extras


@dataclass(slots=True)
class Horizon:
    """The oldest transaction whose rows the last cleanup of this process may not have seen; lost with the process.

    A wrong horizon cannot let a duplicate through, because the index build would fail on it. After a ranking that
    found nothing, the next one ranks the whole table, so that the build cannot fail for the same duplicate forever.
    """

    ranking_seconds: float = 0.0  #: of the newest ranking of the whole table
    _transaction: str = ""  #: its id; empty if the whole table has to be ranked
    _key_identity: tuple[Hashable, ...] | None = None  #: table, elements, predicate, and whether NULLs count as equal
    _leaves: dict[int, Horizon] = field(default_factory=dict)  #: of a partitioned table, by the oid of the leaf

    def leaf_horizon(self, relid: int) -> Horizon:
        """Return the horizon of one leaf of a partitioned table."""
        return self._leaves.setdefault(relid, Horizon())

    def rows_to_rank(self, work: CleanupWork, key: UniqueKey) -> str:
        """Return the condition for the rows ``t`` whose key can be that of a row newer than the horizon."""
        if not self._transaction or self._key_identity != _identity(work, key):
            return WHOLE_TABLE
        # Hashes are compared, because keys that the index considers equal have one hash; a collision only adds rows.
        t_key_hash = key_hash(work, key)
        return f"{t_key_hash} IN ({work.sql('arrived_keys', t_key_hash=t_key_hash, oldest=self._transaction)})"

    def advance(self, work: CleanupWork, key: UniqueKey, ranking: Ranking) -> None:
        """Move the horizon to a ranking whose extras are all archived."""
        if ranking.whole:
            self.ranking_seconds = ranking.seconds
        self._key_identity = _identity(work, key)
        self._transaction = ranking.oldest_transaction if ranking.whole or ranking.extras else ""


def key_hash(work: CleanupWork, key: UniqueKey) -> str:
    """Return the expression for a hash of the key of a row ``t``."""
    computed = {f"t_key.k{n}": sql for n, sql in enumerate(key.expressions, 1) if sql}
    source = elements.aliased(work.named.table, work.named.schema)
    described = elements.describe(work.connection, source, list(computed.values()))
    types = text_array(str(each.type) for each in described)
    holes = {"key": text_array(filter(None, key.names)), "values": text_array(computed), "types": types}
    return str(work.execute("key_hash", **holes).scalar_one())


def _identity(work: CleanupWork, key: UniqueKey) -> tuple[Hashable, ...]:
    return work.relation.relid, frozenset(key.columns), key.where, key.nulls_not_distinct
