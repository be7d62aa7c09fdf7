"""Point the children that followed a survivor back at the rows that are in the table again."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from functools import partial

from dupe_audit import children, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import quantity
from dupe_audit.model import Batch
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import BATCHING
from dupe_audit.postgres.trees import share_levels
from dupe_audit.restore.work import RestoreWork, halving

log = logging.getLogger("alembic.dupe_audit")


def return_children(work: RestoreWork) -> Generator[Batch, None, int]:
    """Point moved children back at the rows that are in the table again, the last one first; return how many cannot."""
    ranges = children.to_return(work.connection, work.run.id, work.run.relid)
    total, done, refused = sum(size for *_, size in ranges), 0, 0
    levels = share_levels(work.connection, work.relation.relid) if ranges else ""
    for foreign_key, first, last, _ in ranges:
        record = foreign_key.holes["record"]
        for high in range(last, first - 1, -work.batch_size):
            started, low = time.monotonic(), max(first, high - work.batch_size + 1)
            window = {"record": record, "low": str(low), "high": str(high)}
            work.execute("forget_problems", **window)
            size = int(work.execute("count_moved_children", **window).one().rows)
            action = partial(_return, work, levels, foreign_key)
            returned = halving(work, "point back children", record, action, low, high)
            done += size
            refused += int(work.execute("count_moved_children", **window).one().refused)
            yield Batch(
                run_id=work.run.id,
                repointed=returned,
                spared=size - returned,
                done=done,
                total=total,
                seconds=time.monotonic() - started,
            )
    _log_not_returned(work)
    return refused


def _log_not_returned(work: RestoreWork) -> None:
    """Log which children stay at the survivor because the application has changed or deleted them since."""
    for row in ledger.moved_children(work.connection, work.run.id):
        if remaining := row["moved"] - row["returned"]:
            record = ledger.record_name(work.run.id, row["number"])
            log.warning(
                "%s of %s (%s) not pointed back: see %s",
                quantity(remaining, "row"),
                row["child"],
                row["constraint_name"],
                record,
            )


def _return(work: RestoreWork, levels: str, foreign_key: ForeignKey, low: int, high: int) -> int:
    with work.transaction(local=BATCHING):
        if levels:
            execute(work.connection, levels)
        sql = foreign_key.sql("return_children", work.holes, run=str(work.run.id), low=str(low), high=str(high))
        row = execute(work.connection, sql).one()
        if row.back != row.marked:
            raise DupeAuditError(
                f"The batch pointed {quantity(row.back, 'row')} of {foreign_key.child} back, but recorded "
                f"{row.marked:,}; it was rolled back."
            )
    return int(row.back)
