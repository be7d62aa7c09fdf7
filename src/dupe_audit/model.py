"""The facts that steps take and return: frozen, named, with units. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dupe_audit.errors import WrongUsage
from dupe_audit.findings.entry import Finding

#: bytes in a PostgreSQL identifier (NAMEDATALEN - 1); longer ones are silently cut by the server
MAX_IDENTIFIER = 63

#: bytes that a btree entry of version 4 can hold (PostgreSQL documentation, 64.1 B-Tree; H40)
WIDEST_KEY = 2704

#: columns of an index, included ones among them (INDEX_MAX_KEYS)
MAX_INDEX_COLUMNS = 32

RunState = Literal["cleaning", "clean", "enforced", "dropped", "restored", "failed"]


def check_identifier(kind: str, name: object) -> str:
    """Return *name* if PostgreSQL can hold it whole.

    Raises:
        WrongUsage: it is empty, no string, holds a NUL, or is longer than 63 bytes; PostgreSQL
            would cut it and find another object, or none.
    """
    if not isinstance(name, str) or not name or "\x00" in name:
        raise WrongUsage(f"The {kind} name {name!r} is no PostgreSQL identifier. Give the name as it is, unquoted.")
    if len(name.encode()) > MAX_IDENTIFIER:
        raise WrongUsage(
            f"The {kind} name {name!r} is longer than {MAX_IDENTIFIER} bytes; PostgreSQL would cut it. "
            "Use the name as the catalog has it."
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueKey:
    """What is to be unique: a table, its columns, how NULLs count, and the constraint's form."""

    table: str
    columns: tuple[str, ...]
    schema: str | None = None  #: None: the first schema of the search path that has the table
    name: str | None = None  #: the constraint's (and its index's) name
    nulls_not_distinct: bool = False  #: PostgreSQL 15+: two NULLs are equal
    include: tuple[str, ...] = ()  #: columns carried by the index but not part of the key
    deferrable: bool = False
    initially: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE"

    def __post_init__(self) -> None:
        check_identifier("table", self.table)
        for kind, name in (("schema", self.schema), ("constraint", self.name)):
            if name is not None:
                check_identifier(kind, name)
        if not self.columns:
            raise WrongUsage("A key needs at least one column.")
        for column in (*self.columns, *self.include):
            check_identifier("column", column)
        if len(set(self.columns)) != len(self.columns):
            raise WrongUsage(f"The key names a column twice: {', '.join(self.columns)}.")
        if len(self.columns) + len(self.include) > MAX_INDEX_COLUMNS:
            raise WrongUsage(f"An index holds {MAX_INDEX_COLUMNS} columns, included ones among them.")
        if self.initially not in ("IMMEDIATE", "DEFERRED"):
            raise WrongUsage(f"initially is IMMEDIATE or DEFERRED, not {self.initially!r}.")
        if self.initially == "DEFERRED" and not self.deferrable:
            raise WrongUsage("initially='DEFERRED' needs deferrable=True.")

    def __str__(self) -> str:
        table = f"{self.schema}.{self.table}" if self.schema else self.table
        return f"{table} ({', '.join(self.columns)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupRule:
    """Which row of a group survives, which groups may be cleaned, and how fast."""

    keep: Literal["first", "last"] = "first"
    order_by: tuple[str, ...] = ()  #: what "first" means; ties end in the row's identity
    divergent: Literal["refuse", "archive"] = "refuse"
    references: Literal["refuse", "repoint"] = "refuse"  #: stop where a child references an extra, or move the child
    ignore: tuple[str, ...] = ()  #: columns in which copies may differ and still be exact
    batch_size: int = 5000  #: rows archived per transaction, at most; with repoint, those and their children
    pause: float = 0.0  #: seconds of rest between batches
    max_replica_lag: float | None = None  #: seconds; batches wait while a standby is further behind

    def __post_init__(self) -> None:
        choices = {
            "keep": ("first", "last"),
            "divergent": ("refuse", "archive"),
            "references": ("refuse", "repoint"),
        }
        for option, allowed in choices.items():
            value = getattr(self, option)
            if value not in allowed:
                raise WrongUsage(f"{option} is one of {', '.join(allowed)}, not {value!r}.")
        for column in (*self.order_by, *self.ignore):
            check_identifier("column", column)
        if not 1 <= self.batch_size <= 100_000:
            raise WrongUsage(f"batch_size is between 1 and 100000 rows, not {self.batch_size}.")
        if self.pause < 0:
            raise WrongUsage(f"pause is a number of seconds, not {self.pause}.")
        if self.max_replica_lag is not None and self.max_replica_lag <= 0:
            raise WrongUsage(f"max_replica_lag is a number of seconds above 0, not {self.max_replica_lag}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRule:
    """How long to wait for locks, and how often to try, while the constraint is made or dropped."""

    lock_timeout: str = "500ms"  #: what one statement of the application may wait behind ours
    give_up_after: str = "10min"  #: total wait for one lock, all tries together
    build_attempts: int = 5  #: clean-and-build rounds when new duplicates keep arriving
    comment: str | None = None
    maintenance_work_mem: str | None = None
    max_parallel_maintenance_workers: str | None = None

    def __post_init__(self) -> None:
        if self.build_attempts < 1:
            raise WrongUsage(f"build_attempts is at least 1, not {self.build_attempts}.")
        if not 0 < milliseconds(self.lock_timeout) <= 60_000:
            # Zero would mean "wait for ever" and queue the whole application behind us (H76).
            raise WrongUsage(f"lock_timeout is more than 0 and at most 1min, not {self.lock_timeout!r}.")
        if milliseconds(self.give_up_after) <= 0:
            raise WrongUsage(f"give_up_after is more than 0, not {self.give_up_after!r}.")


_UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def milliseconds(duration: str) -> int:
    """Return a PostgreSQL duration such as ``500ms`` or ``10min`` in milliseconds.

    Raises:
        WrongUsage: no number, or a unit other than ms, s, min, h, d.
    """
    text = str(duration).strip()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip() or "ms"
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise WrongUsage(f"{duration!r} is no duration; write 500ms, 2s, 10min, 1h or 1d.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key that points at the table, and how many of its rows point at extras."""

    table: str
    constraint: str
    on_delete: str  #: NO ACTION, RESTRICT, CASCADE, SET NULL or SET DEFAULT
    rows: int  #: child rows that reference an extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """What the change will need, in bytes; from the table's own statistics, so an estimate."""

    index_bytes: int = 0
    archive_bytes: int = 0
    temp_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one snapshot of the table holds."""

    rows: int  #: all rows
    null_key_rows: int  #: rows that the constraint will not compare, because a key column is NULL
    groups: int  #: key values held by more than one row
    extras: int  #: rows that have to leave: affected minus groups
    affected: int  #: all rows in groups
    largest_group: int  #: rows in the largest group
    exact_groups: int  #: groups whose rows agree in every compared column
    divergent_groups: int  #: groups whose rows carry different data


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateReport:
    """What preflight saw."""

    key: UniqueKey
    counts: Counts | None  #: None where the table could not be counted; a finding says why
    estimates: Estimates = field(default_factory=Estimates)
    references: tuple[Reference, ...] = ()
    findings: tuple[Finding, ...] = ()
    examples: tuple[tuple[str, int], ...] = ()  #: key values and their rows; only when asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One committed transaction of a cleanup or a restore."""

    run_id: int
    archived: int = 0  #: rows moved into the archive by this batch
    restored: int = 0  #: rows put back by this batch
    repointed: int = 0  #: children pointed at a survivor, or back again, by this batch
    spared: int = 0  #: rows left for the next pass, or for a person
    done: int = 0  #: rows handled so far in this pass
    total: int = 0  #: rows to handle in this pass
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexState:
    """The index behind the constraint, as the catalog has it."""

    oid: int
    name: str
    valid: bool
    ready: bool
    definition: str
    bytes: int
    same_definition: bool  #: columns, order, NULL rule, INCLUDE, operator classes, collations
    constraint: str | None  #: the constraint that owns the index
    same_constraint_form: bool  #: type UNIQUE, deferrability as asked
    builder_pid: int | None = None  #: a backend that is building on the table right now


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row of the ledger: a cleanup, from first batch to restore."""

    id: int
    relid: int
    schema_name: str
    table_name: str
    key_columns: tuple[str, ...]
    nulls_not_distinct: bool
    constraint_name: str | None
    building: bool  #: a build of the constraint's index was begun and is not known to have ended
    state: RunState
    revision: str | None  #: Alembic revision that opened the run
    rows_before: int | None
    groups: int
    extras: int
    archived: int
    restored: int
    children_moved: int  #: rows of other tables that were pointed at a survivor
    children_returned: int  #: of those, pointed back by a restore
    started_at: str
    finished_at: str | None
    purged_at: str | None
    software_version: str
    who: str
    archive_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What the catalog and a sequential count say about a key."""

    key: UniqueKey
    index: IndexState | None
    extras: int | None
    run: Run | None
    rows: int | None = None  #: rows in the table, from the snapshot that counted the extras
    findings: tuple[Finding, ...] = ()

    @property
    def traffic(self) -> int | None:
        """Rows that the application added (or, below zero, deleted) since the run's first ranking.

        The ledger's arithmetic: before = now + archived - restored, but for this.
        """
        if self.run is None or self.run.rows_before is None or self.rows is None:
            return None
        return self.rows + self.run.archived - self.run.restored - self.run.rows_before

    @property
    def ok(self) -> bool:
        """True where nothing contradicts the claim that the key is enforced."""
        return not any(f.severity == "error" for f in self.findings)
