"""Change rows that stay in the table: extras that are amended, and survivors that take over values of their group.

The table has each such row as it is now, the archive has it as it was, and a third table has it as the run left it,
so that a restore changes nothing that the application has changed since.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row

from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import finding, quantity
from dupe_audit.postgres.driver import execute

#: how often amended rows that have the key of another row are amended again
MOST_COLLISIONS = 20

#: the first part of the order in which they are ranked then
AMENDED_LAST = "t.ctid OPERATOR(pg_catalog.=) ANY (SELECT a.tid FROM pg_temp.dupe_audit_amended a)"

COLUMNS_CHANGED = (
    "The table's columns or a foreign key to it changed during the cleanup, or another table took its name. "
    "The batch was rolled back. Run the same command again: it continues with the table as it is now."
)


def prepare(work: CleanupWork) -> None:
    """Create the list of amended rows for this session, and empty it."""
    execute(work.connection, work.sql("create_amended"))
    execute(work.connection, "TRUNCATE pg_temp.dupe_audit_amended")


def amend_again(work: CleanupWork) -> CleanupWork:
    """Return the work of a further pass: of two rows with a key, the one that this session has amended is the extra."""
    order_by = work.holes["order_by"].removeprefix(f"{AMENDED_LAST}, ")
    return replace(work, holes={**work.holes, "order_by": f"{AMENDED_LAST}, {order_by}"})


def last_of_group(work: CleanupWork, high: int, total: int) -> int:
    """Return the last staged extra of the group that extra *high* belongs to."""
    start = execute(work.connection, work.sql("next_group", n=str(high))).scalar()
    return total if start is None else int(start) - 1


def amend(work: CleanupWork, batch: int) -> int:
    """Change the extras of a batch that are locked, and archive them as they were; return how many.

    Raises:
        Refused: a row that was changed is still an extra, because a trigger changed it again.
        DupeAuditError: a trigger on the table suppresses updates.
    """
    if execute(work.connection, work.sql("columns_digest")).scalar() != work.holes["columns_digest"]:
        raise DupeAuditError(COLUMNS_CHANGED)
    changed = _all_changed(work.execute("amend_rows", batch=str(batch)).one())
    if changed.still_extras:
        subject = f"{quantity(int(changed.still_extras), 'extra')} of {work.relation.name}"
        findings = [finding("amendment-incomplete", subject, table=work.relation.name)]
        raise Refused(findings, lead="The batch was rolled back.")
    return int(changed.changed)


def merge(work: CleanupWork, batch: int, first_id: int) -> int:
    """Let the survivors of a batch take over values of the extras that it has archived; return how many it changed.

    Args:
        first_id: the lowest number in the archive of this batch.

    Raises:
        Refused: a survivor would have another key.
        DupeAuditError: a trigger on the table suppresses updates.
    """
    changed = _all_changed(work.execute("merge_rows", batch=str(batch), first_id=str(first_id)).one())
    if changed.other_keys:
        subject = f"the merge changes the key of {quantity(int(changed.other_keys), 'survivor')}"
        findings = [finding("column-not-changeable", subject, table=work.relation.name)]
        raise Refused(findings, lead="The batch was rolled back.")
    return int(changed.changed)


def _all_changed(row: Row[Any]) -> Row[Any]:
    if not row.judged == row.changed == row.archived:
        raise DupeAuditError(
            f"The batch checked {quantity(row.judged, 'row')} to change, but changed {row.changed:,} and archived "
            f"{row.archived:,}; it was rolled back. A trigger on the table suppresses updates: see finding "
            "update-trigger."
        )
    return row
