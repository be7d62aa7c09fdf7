"""What the steps return."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from dupe_audit.findings import Finding
from dupe_audit.model.key import UniqueKey
from dupe_audit.model.rules import CleanupRule
from dupe_audit.model.runs import Run

#: findings that concern the way back, and not the constraint
ABOUT_THE_LEDGER = {"archive-missing", "ledger-mismatch", "run-missing", "table-replaced", "untrusted-ledger"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key to the table, and how many of its rows reference extras."""

    table: str  #: the referencing table, qualified and quoted
    constraint: str
    on_delete: str  #: NO ACTION, RESTRICT, CASCADE, SET NULL or SET DEFAULT
    rows: int  #: child rows that reference an extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """What the change will need, in bytes, estimated from the table's own statistics."""

    index_bytes: int = 0
    archive_bytes: int = 0
    temp_bytes: int = 0  #: of a sort that does not fit into memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one snapshot of the table holds."""

    rows: int  #: all rows
    null_key_rows: int  #: rows that the constraint does not compare, because a key column is NULL
    groups: int  #: key values held by more than one row
    extras: int  #: rows that have to be removed: affected minus groups
    affected: int  #: all rows in groups
    largest_group: int  #: rows in the largest group
    exact_groups: int  #: groups whose rows agree in every compared column
    divergent_groups: int  #: groups whose rows carry different data
    outside_rows: int = 0  #: rows that the key does not cover, because its predicate is not true for them


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Columns that look like bookkeeping, and what ignoring them would change."""

    columns: dict[str, str]  #: what makes each look like bookkeeping
    ignore: tuple[str, ...]  #: these, after the columns that the rule already ignores
    exact_groups: int  #: divergent groups that would be exact
    divergent_groups: int  #: all of them

    @property
    def directive(self) -> str:
        """The argument of ``op.archive_duplicates``."""
        return f"ignore={list(self.ignore)!r}"

    @property
    def options(self) -> str:
        """The options of preflight, for a shell."""
        return " ".join(f"--ignore {shlex.quote(name)}" for name in self.ignore)


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """In which columns divergent groups differ."""

    groups: int  #: divergent groups
    columns: dict[str, int]  #: groups whose rows differ in it, the most first
    suggestion: Suggestion | None = None  #: None if ignoring what looks like bookkeeping makes no group exact


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """A row of a sample; values are as PostgreSQL prints them, and long ones are cut and end in ``…``."""

    identity: dict[str, str]  #: columns of the primary key; without one, the row's place in the table
    values: dict[str, str | None] = field(default_factory=dict)  #: where the rows differ; only with ``show_keys``
    differs: tuple[str, ...] = ()  #: columns in which the row differs from the survivor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A group, and what the rule would do with its rows."""

    rows: int  #: rows in the group
    survivor: SampleRow
    extras: tuple[SampleRow, ...]  #: the first of the rows that would leave
    key: str | None = None  #: only with ``show_keys``
    differs: tuple[str, ...] = ()  #: columns in which rows of the group differ; empty if it is exact


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """A row for which an expression cannot be computed."""

    expression: str
    identity: dict[str, str]  #: as in a sample
    message: str  #: the server's; it can contain values of the row


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyLeaf:
    """A leaf of a partitioned table that has extras."""

    table: str  #: qualified and quoted
    groups: int
    extras: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaves:
    """The leaves of a partitioned table."""

    count: int
    dirty: tuple[DirtyLeaf, ...]  #: those with extras, in descending order of these


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateReport:
    """What preflight found."""

    key: UniqueKey
    counts: Counts | None  #: None if the table could not be counted; a finding says why
    estimates: Estimates = field(default_factory=Estimates)
    references: tuple[Reference, ...] = ()
    findings: tuple[Finding, ...] = ()  #: the worst first
    examples: tuple[tuple[str, int], ...] = ()  #: key values with their number of rows; only with ``show_keys``
    differs: dict[str, int] = field(default_factory=dict)  #: by column: groups whose rows differ in it, the most first
    suggestion: Suggestion | None = None  #: None if ignoring what looks like bookkeeping would make no group exact
    samples: tuple[Sample, ...] = ()  #: only on request
    failed_rows: tuple[FailedRow, ...] = ()  #: some of the rows that cannot be computed; only with ``show_keys``
    rule: CleanupRule | None = None  #: the planned cleanup; None if a revision does not clean the key
    revision: str | None = None  #: Alembic revision that declares the key
    leaves: Leaves | None = None  #: None if the table is not partitioned


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Something that preflight or verify could not examine: a revision, or a key that cannot be counted."""

    findings: tuple[Finding, ...]
    revision: str | None = None  #: None if it is not about one revision
    schema: str | None = None
    table: str | None = None  #: None if it is not known
    columns: tuple[str, ...] = ()
    constraint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexState:
    """The index behind the constraint, as the catalog describes it."""

    oid: int
    name: str
    valid: bool  #: its build ended, and queries use it
    ready: bool  #: writes maintain it, so it rejects duplicates
    definition: str  #: a CREATE INDEX statement
    bytes: int
    same_definition: bool  #: columns, order, NULL rule, INCLUDE, operator classes, collations
    constraint: str | None  #: the constraint that owns the index
    same_constraint_form: bool  #: a UNIQUE constraint with the deferrability of the key
    constraint_form: str = ""  #: of the constraint that owns the index: UNIQUE or another kind, and its deferrability


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What the catalog, a sequential count and the ledger say about a key."""

    key: UniqueKey
    index: IndexState | None  #: None if nothing has the constraint's name
    extras: int | None  #: None if the table was not counted
    run: Run | None  #: the newest run of the key; None if the ledger has none
    rows: int | None = None  #: rows of the table, in the snapshot that counted the extras
    leaves: int | None = None  #: leaves that were counted; None if the table is not partitioned
    archived_by_others: int = 0  #: rows that runs of other keys have archived since the run began, less those restored
    findings: tuple[Finding, ...] = ()

    @property
    def traffic(self) -> int | None:
        """Rows that the application has inserted, less those it has deleted, since the run's first ranking.

        It is the difference left in the ledger's arithmetic: before = now + archived - restored - traffic, where
        what the runs of other keys archived counts too.
        """
        if self.run is None or self.run.rows_before is None or self.rows is None:
            return None
        archived = self.run.archived - self.run.restored + self.archived_by_others
        return self.rows + archived - self.run.rows_before

    @property
    def ok(self) -> bool:
        """Whether the key is enforced, and no finding says that its rows could not be restored."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def enforced(self) -> bool:
        """Whether no finding contradicts that the key is enforced, whatever has become of the archived rows."""
        return not any(finding.severity == "error" and finding.id not in ABOUT_THE_LEDGER for finding in self.findings)
