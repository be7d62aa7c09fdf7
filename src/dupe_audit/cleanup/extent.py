"""Where a batch ends: it is bounded in rows, children and bytes, and some of them cannot be divided."""

from __future__ import annotations

from dupe_audit.cleanup import changes
from dupe_audit.cleanup.pace import MOST_BYTES
from dupe_audit.cleanup.work import CleanupWork

#: the SQL of the bytes of a row, if they do not matter
NARROW = "0"


def is_indivisible(work: CleanupWork, low: int, high: int, total: int) -> bool:
    """Return whether a batch is a single extra, or a single group whose values are merged at once."""
    return low == high or (work.rule.merges_groups and changes.last_of_group(work, low, total) == high)


def last_of_batch(work: CleanupWork, low: int, total: int, size: int, bytes_of_row: str) -> tuple[int, int]:
    """Return the last extra of the batch that begins with extra *low*, and the rows of the batch.

    Children count as rows of the batch, so an extra with a million of them does not bring 4,999 others along.

    Args:
        size: rows that the batch may take.
        bytes_of_row: the SQL of the bytes of a staged row.
    """
    if not work.moving and bytes_of_row == NARROW:
        last = min(total, low + size - 1)
        return last, last - low + 1
    row = work.execute(
        "batch_end", low=str(low), batch_size=str(size), bytes=bytes_of_row, most_bytes=str(MOST_BYTES)
    ).one()
    return int(row.high), int(row.rows)


def row_bytes(work: CleanupWork) -> str:
    """Return the SQL of the bytes of a staged row ``s``, which count as none where no row is wider than its page."""
    with work.transaction():
        if work.of_citus:  # its batches are small, and the TOAST tables of its copies are hidden
            return work.sql("citus_row_bytes")
        # Rows are measured only where some are wide: to look at each costs a tenth of a batch.
        return work.sql("row_bytes") if work.execute("toasted").scalar_one() else NARROW
