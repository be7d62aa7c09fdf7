"""What this process knows to be free of extras, so that a further cleaning ranks only the keys of newer rows.

An extra that a complete cleaning left behind cannot exist; a new one needs a row version that the ranking's snapshot
did not show. Its transaction is not older than the oldest one that was in progress then, and a row keeps the id of
its transaction even if it is frozen (PostgreSQL 9.4 and newer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dupe_audit.model import UniqueKey
from dupe_audit.postgres.work import Work
from dupe_audit.statements import text_array

#: every row is ranked
WHOLE_TABLE = "true"


class Ranking(NamedTuple):
    """What a ranking has found, and at which moment."""

    extras: int  #: that are staged
    whole: bool  #: whether it ranked the whole table
    seconds: float
    oldest_transaction: str  #: id of the oldest transaction that was in progress at its snapshot


@dataclass(slots=True)
class Horizon:
    """The oldest transaction whose rows a cleaning of this process may not have ranked; it is lost with the process.

    A wrong horizon cannot let a duplicate pass, because the index build meets it. A ranking that finds nothing lets
    the next one rank the whole table, so that a build cannot fail again and again.
    """

    ranking_seconds: float = 0.0  #: of the newest ranking of the whole table
    _transaction: str = ""  #: its id; empty if nothing is known
    _of: tuple[int, frozenset[str], bool] | None = None  #: table, columns, and whether NULLs count as equal

    def rows_to_rank(self, work: Work, key: UniqueKey) -> str:
        """Return the condition of the rows ``t`` that can be in one group with a row behind the horizon."""
        if not self._transaction or self._of != _identity(work, key):
            return WHOLE_TABLE
        # Hashes are compared, because the equality of any type and of NULLs is theirs too; a collision only adds rows.
        key_hash = str(work.execute("key_hash", key=text_array(key.columns)).scalar_one())
        return f"{key_hash} IN ({work.sql('arrived_keys', t_key_hash=key_hash, oldest=self._transaction)})"

    def advance(self, work: Work, key: UniqueKey, ranking: Ranking) -> None:
        """Remember that no extra of a ranking is left."""
        if ranking.whole:
            self.ranking_seconds = ranking.seconds
        self._of = _identity(work, key)
        self._transaction = ranking.oldest_transaction if ranking.whole or ranking.extras else ""


def _identity(work: Work, key: UniqueKey) -> tuple[int, frozenset[str], bool]:
    return work.relation.relid, frozenset(key.columns), key.nulls_not_distinct
