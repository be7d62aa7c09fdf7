"""What ``dupe-audit watch`` sees at one moment: frozen facts, no key values, no texts of queries.

Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dupe_audit.model import RunState

#: what a session does with a table; "preparing" is everything between two of the others
Phase = Literal[
    "preparing", "ranking", "cleaning", "building", "removing", "attaching", "verifying", "dropping", "restoring"
]

#: what is counted
Unit = Literal["extras", "rows", "blocks", "tuples", "transactions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """Somebody for whom the work waits."""

    pid: int | None  #: None for a prepared transaction
    name: str | None  #: application, else role; of a prepared transaction its identifier, where it is known
    state: str | None  #: as pg_stat_activity says; None where this role may not see it
    seconds: float | None  #: for how long its transaction has been open
    lock: str | None = None  #: what it holds on the table, where that was asked

    def __str__(self) -> str:
        if self.pid is None:
            return f"prepared transaction {self.name!r}" if self.name else "a prepared transaction (pg_prepared_xacts)"
        open_for = "" if self.seconds is None else f"open for {self.seconds:.0f} s"
        told = [self.name or "no name", self.state or "state hidden", open_for, self.lock or ""]
        return f"pid {self.pid} ({', '.join(part for part in told if part)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a phase is; what is not known is None."""

    step: str | None = None  #: PostgreSQL's own name for the phase of a build
    done: int | None = None
    total: int | None = None
    unit: Unit | None = None
    rate: float | None = None  #: units a second, of the last minute or so

    @property
    def eta(self) -> float | None:
        """Seconds until this phase is over at the present rate, or None without a basis."""
        if self.done is None or self.total is None or not self.rate or self.unit == "transactions":
            return None
        return max(0.0, (self.total - self.done) / self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeen:
    """A run as the ledger has it."""

    id: int
    columns: tuple[str, ...]
    constraint: str | None
    state: RunState
    revision: str | None
    extras: int
    archived: int
    restored: int
    purged: bool
    started_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One table with a run, a build, or both: what is done with it, by whom, and for whom that waits."""

    schema: str
    table: str
    run: RunSeen | None = None  #: None before a run is opened, and for a build outside of any
    phase: Phase | None = None  #: None where nobody works on it
    progress: Progress = Progress()
    pid: int | None = None  #: of the session that works
    hidden: bool = False  #: this role may not see what that session does
    waiting: bool = False
    blockers: tuple[Blocker, ...] = ()
    stalled: bool = False  #: unfinished, and nobody works on it
    help: str | None = None  #: what to do about that


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything at one moment."""

    at: str  #: the server's clock
    ledger: bool  #: whether this database has one
    working: tuple[Seen, ...] = ()
    stalled: tuple[Seen, ...] = ()
    resting: tuple[Seen, ...] = ()  #: runs that came to an end, the latest first; at most ten

    @property
    def unfinished(self) -> tuple[int, ...]:
        """The ids of the runs that are stalled."""
        return tuple(one.run.id for one in self.stalled if one.run)
