"""Change rows that stay in the table: extras that are amended, and survivors that take over values of their group.

The table has each such row as it is now, the archive as it was before, and a third table as the run left it, so that a
restore changes nothing that the application has changed since.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from dupe_audit.cleanup.horizon import key_hash
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import finding, quantity
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import BATCHING
from dupe_audit.postgres.sqlstates import (
    CLASS_RAISED,
    INVALID_PARAMETER_VALUE,
    INVALID_TEXT,
    NOT_NULL_VIOLATION,
    NUMBER_OUT_OF_RANGE,
    STRING_TOO_LONG,
    sqlstate,
)

W = TypeVar("W", bound=CleanupWork)

#: how many further passes amend rows again that have the key of another row
MOST_COLLISIONS = 20

#: why a value cannot be in its column, by SQLSTATE
REASONS = {
    STRING_TOO_LONG: "the value is too long for the column",
    NUMBER_OUT_OF_RANGE: "the number is out of range",
    INVALID_TEXT: "the value cannot be read as the column's type",
    INVALID_PARAMETER_VALUE: "a value has the wrong form, such as a JSON array instead of an object",
}

COLUMNS_CHANGED = (
    "The table's columns or a foreign key to it changed during the cleanup, or another table took its name. "
    "The batch was rolled back. Run the same command again: it continues with the table as it is now."
)


def prepared(work: W, key: UniqueKey) -> W:
    """Return the work of a cleanup that amends rows of a key, perhaps after others of the same run."""
    prepared = replace(work, holes={**work.holes, "t_key_hash": key_hash(work, key)})
    return _amended_last(prepared) if work.find_run().amended else prepared


def amend_again(work: W) -> W:
    """Return the work of a further pass, after one whose amended rows can have the key of another row.

    Raises:
        DupeAuditError: there were too many, so the rule itself lets rows collide.
    """
    passes = work.collisions + 1
    if passes > MOST_COLLISIONS:
        columns = ", ".join(change.column for change in work.rule.changes)
        committed = "" if work.is_held else f"The rows amended so far are committed under run {work.run_id}. "
        raise DupeAuditError(
            f"After {passes} passes over {work.relation.name}, amended rows still have the key of another row. "
            f"{committed}Let the new value of {columns} differ for each row, for example with duplicate.number "
            "or the primary key. Then run the same command again."
        )
    return replace(_amended_last(work), collisions=passes)


def last_of_group(work: CleanupWork, high: int, total: int) -> int:
    """Return the last staged extra of the group that extra *high* belongs to."""
    start = execute(work.connection, work.sql("next_group", n=str(high))).scalar()
    return total if start is None else int(start) - 1


def amend(work: CleanupWork, batch: int, low: int, high: int) -> int:
    """Change the extras of a batch that are locked, and archive them as they were; return how many.

    Args:
        low: number of the batch's first staged extra.
        high: number of its last one.

    Raises:
        Refused: a row that was changed is still an extra, because a trigger changed it again.
        DupeAuditError: a trigger on the table suppresses updates.
    """
    if execute(work.connection, work.sql("columns_digest")).scalar() != work.holes["columns_digest"]:
        raise DupeAuditError(COLUMNS_CHANGED)
    changed = _all_changed(work.execute("amend_rows", batch=str(batch), low=str(low), high=str(high)).one())
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


def have_arrived(work: CleanupWork) -> bool:
    """Return whether writers have added extras of a further pass; all extras of the first pass are new."""
    if not work.collisions:
        return False
    with work.transaction(local=BATCHING):
        return bool(work.execute("has_new_extra").scalar_one())


def failed(work: CleanupWork, error: DBAPIError) -> Refused:
    """Return the refusal of a batch in which a row could not be changed, although a trial before it succeeded."""
    findings = [finding("change-fails", f"at least 1 row: {why(error)}", table=work.relation.name)]
    return Refused(findings, lead="The batch was rolled back.")


def lack_parent(work: CleanupWork, error: DBAPIError) -> bool:
    """Return whether changed rows of this table reference a row that does not exist; False if that is not known.

    Children of the table fail with the same SQLSTATE; the server names the child's table in both cases.
    """
    diagnosis, relation = getattr(error.orig, "diag", None), work.relation
    names = getattr(diagnosis, "schema_name", None), getattr(diagnosis, "table_name", None)
    if not work.rule.changes_rows or names != (relation.schema, relation.table):
        return False
    constraint = getattr(diagnosis, "constraint_name", None)
    return not any((key.child, key.constraint_name) == (relation.name, constraint) for key in work.foreign_keys)


def why(error: DBAPIError) -> str:
    """Return why a row cannot be changed, without a value of it."""
    code, diagnosis = sqlstate(error) or "", getattr(error.orig, "diag", None)
    if constraint := getattr(diagnosis, "constraint_name", None):
        return f"constraint {constraint} forbids the new row"
    if code == NOT_NULL_VIOLATION:
        column = getattr(diagnosis, "column_name", None)
        return f"column {column} must not be NULL" if column else "a value must not be NULL"
    if code.startswith(CLASS_RAISED):
        return f"a trigger or a function rejects it (SQLSTATE {code})"
    return REASONS.get(code, f"the value cannot be computed (SQLSTATE {code})")


def _all_changed(row: Row[Any]) -> Row[Any]:
    if not row.judged == row.changed == row.archived:
        raise DupeAuditError(
            f"The batch checked {quantity(row.judged, 'row')} to change, but changed {row.changed:,} and archived "
            f"{row.archived:,}; it was rolled back. A trigger on the table suppresses updates: see finding "
            "update-trigger."
        )
    return row


def _amended_last(work: W) -> W:
    """Return work in which, of two rows with a key, the one that this run has amended is the extra."""
    amended_last = f"EXISTS ({work.sql('is_amended')})"
    order_by = work.holes["order_by"].removeprefix(f"{amended_last}, ")
    return replace(work, continues=True, holes={**work.holes, "order_by": f"{amended_last}, {order_by}"})
