"""What ``dupe-audit watch`` sees at one moment: frozen facts, no key values, no query texts.

Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dupe_audit.findings import describe_session
from dupe_audit.model import RunState

#: what a session does with a table; "preparing" is everything between two other phases
Phase = Literal[
    "preparing", "ranking", "cleaning", "building", "removing", "attaching", "verifying", "dropping", "restoring"
]

#: what a progress counts
Unit = Literal["extras", "rows", "blocks", "tuples", "transactions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A session or a prepared transaction for which the work waits."""

    pid: int | None  #: None for a prepared transaction
    name: str | None  #: application, else role; of a prepared transaction its identifier, if known
    state: str | None  #: as in pg_stat_activity; None if this role may not see it
    seconds: float | None  #: since its transaction began
    lock: str | None = None  #: what it holds on the table; None if that was not queried

    def __str__(self) -> str:
        if self.pid is None:
            return f"prepared transaction {self.name!r}" if self.name else "a prepared transaction (pg_prepared_xacts)"
        return describe_session(self.pid, self.name, self.state or None, self.seconds, self.lock or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a phase is; unknown figures are None."""

    step: str | None = None  #: PostgreSQL's own name for the phase of a build
    done: int | None = None
    total: int | None = None
    unit: Unit | None = None
    rate: float | None = None  #: units per second, over about the last minute

    @property
    def eta(self) -> float | None:
        """Seconds until this phase is over at the present rate, or None if there is nothing to estimate it from."""
        if self.done is None or self.total is None or not self.rate or self.unit == "transactions":
            return None
        return max(0.0, (self.total - self.done) / self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run as the ledger has it."""

    id: int
    columns: tuple[str, ...]
    constraint: str | None
    state: RunState
    revision: str | None
    extras: int
    archived: int
    amended: int
    merged: int
    restored: int
    reverted: int
    outcome: str  #: what becomes of its extras, as a participle
    purged: bool
    started_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One table with a run, a build, or both: what is done with it, by which session, and who blocks that."""

    schema: str
    table: str
    leaf: str | None = None  #: the partition that the session builds an index on or waits for, as in SQL
    run: RunSummary | None = None  #: None before a run is opened, and for a build outside any run
    phase: Phase | None = None  #: None if no session works on it
    progress: Progress = Progress()
    pid: int | None = None  #: of the session that does the work
    hidden: bool = False  #: this role cannot see what that session does
    waiting: bool = False
    blockers: tuple[Blocker, ...] = ()
    stalled: bool = False  #: unfinished, and no session works on it
    help: str | None = None  #: what to do about a stalled run


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that one look saw."""

    at: str  #: the server's clock
    ledger: bool  #: whether this database has one
    working: tuple[Activity, ...] = ()
    stalled: tuple[Activity, ...] = ()
    resting: tuple[Activity, ...] = ()  #: runs that ended, the latest first; at most ten

    @property
    def unfinished(self) -> tuple[int, ...]:
        """The ids of the stalled runs."""
        return tuple(activity.run.id for activity in self.stalled if activity.run)
