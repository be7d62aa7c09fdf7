"""Put archived rows back into a reference or Citus-local table, in one transaction of the whole cluster."""

from __future__ import annotations

from dupe_audit import ledger
from dupe_audit.citus.kinds import CitusTable
from dupe_audit.citus.settings import propagate
from dupe_audit.postgres.work import Work

#: rows of a batch, at most: each writer of a reference table waits for a batch
MOST_ROWS = 200


def batch_size(table: CitusTable | None, wanted: int) -> int:
    """Return how many rows a batch may take on a table; None is one that Citus does not manage."""
    return wanted if table is None or table.is_sharded else min(wanted, MOST_ROWS)


class RowsDifferOnCitus(Exception):
    """What arrived in the table is not what the archive holds."""


def put_back(work: Work, run_id: int, low: int, high: int) -> int:
    """Restore a part of the archive; return how many rows.

    Raises:
        RowsDifferOnCitus: a trigger on the table changed a row or kept it out; nothing was restored.
    """
    with work.transaction():
        propagate(work.connection, work.lock_timeout)
        number = ledger.next_batch(work.connection, run_id)
        limits = {"low": str(low), "high": str(high)}
        put = work.execute("citus_restore_rows", **limits).rowcount
        t_is_a = str(work.execute("citus_identity", relid=str(work.relation.relid)).scalar_one())
        row = work.execute("citus_count_changed", t_is_a=t_is_a, **limits).one()
        if row.changed or not put == row.chosen == work.execute("citus_mark_restored", **limits).rowcount:
            raise RowsDifferOnCitus
        if put:
            ledger.record_batch(work.connection, run_id, number, restored=put)
    return int(put)
