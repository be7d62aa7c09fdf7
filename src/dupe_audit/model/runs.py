"""A cleanup that the ledger records, and the batches that it consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dupe_audit.findings import done_to_rows
from dupe_audit.model.key import Expression

RunState = Literal["cleaning", "clean", "enforced", "dropped", "restored", "failed"]

CampaignState = Literal["open", "done", "undone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One committed transaction of a cleanup or a restore."""

    run_id: int
    archived: int = 0  #: rows moved into the archive
    amended: int = 0  #: extras changed in the table
    merged: int = 0  #: survivors that took over values
    restored: int = 0  #: rows put back into the table
    reverted: int = 0  #: amended and merged rows that were changed back
    repointed: int = 0  #: children pointed at a survivor, or back
    spared: int = 0  #: rows left for the next pass; by a restore, rows that could not go back
    done: int = 0  #: rows handled so far in this pass
    total: int = 0  #: rows to handle in this pass
    seconds: float = 0.0  #: wall time of the batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row of the ledger: a cleanup, from its first batch to its restore.

    Times are texts, as PostgreSQL prints a timestamptz. See docs/reference/ledger.md for each column.
    """

    id: int
    relid: int  #: oid of the table; of the run's beginning if the table cannot be found
    relation: str | None  #: the table as it is named now, qualified and quoted; None if it cannot be found
    schema_name: str  #: of the table when the run was opened or last continued, as its name
    table_name: str
    key_columns: tuple[str | Expression, ...]  #: elements of the key
    where: str | None  #: predicate of the key
    nulls_not_distinct: bool
    constraint_name: str | None
    building: bool  #: a build of the constraint's index has begun and is not known to have ended
    state: RunState
    revision: str | None  #: Alembic revision that opened the run
    rows_before: int | None  #: rows at the run's first ranking; None if it has not ranked
    groups: int  #: the largest number of groups that any ranking found
    extras: int  #: archived so far, plus those that the last ranking still found
    archived: int  #: rows
    amended: int  #: extras changed in the table; the archive has them as they were
    merged: int  #: survivors that took over values of their extras, once per batch
    restored: int  #: rows
    reverted: int  #: amended and merged rows that were changed back
    erased: int  #: archived rows that somebody has deleted from the archive on purpose, and entered here
    children_moved: int  #: rows of other tables that now reference a survivor
    children_returned: int  #: of those, rows that a restore pointed back
    started_at: str
    finished_at: str | None
    purged_at: str | None
    software_version: str
    who: str
    archive_bytes: int | None = None  #: None if there is no archive
    campaign: int | None = None  #: of the runs that one revision opened in many schemas

    @property
    def remaining(self) -> int:
        """Rows of the archive that are neither restored nor erased; if the run was purged, they are lost."""
        return self.archived + self.images - self.restored - self.reverted - self.erased

    @property
    def outstanding(self) -> str:
        """What the run has done and not undone, as a predicate; empty if that is nothing."""
        archived = max(0, self.archived - self.restored - self.erased)
        if self.reverted:
            return done_to_rows(archived=archived, changed=self.images - self.reverted)
        return done_to_rows(archived=archived, amended=self.amended, merged=self.merged)

    @property
    def images(self) -> int:
        """Before-images in the archive: of rows that the run has changed, and that stay in the table."""
        return self.amended + self.merged
