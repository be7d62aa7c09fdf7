"""What the rules judge: the revisions, and what the server said and did while they ran. Facts; nothing here acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dupe_audit.checks.report import Place
from dupe_audit.findings import FindingId
from dupe_audit.postgres.locks import STRONG_MODES
from dupe_audit.schema.facts import Catalog, Index, Table
from dupe_audit.seeding.facts import Filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision, as its file has it."""

    id: str
    down: tuple[str, ...]
    path: Path
    file: str  #: as Place.file
    upgrade_line: int
    downgrade_line: int | None
    empty_upgrade: bool  #: its body does nothing
    empty_downgrade: bool
    says_irreversible: bool  #: downgrade() does nothing but raise
    accepts: frozenset[str]  #: findings that a comment in it accepts

    def place(self, line: int | None = None, *, downgrade: bool = False) -> Place:
        """Return a place in the file; by default where the function begins."""
        begins = self.downgrade_line if downgrade else self.upgrade_line
        return Place(file=self.file, line=line or begins or 1, revision=self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a revision did not end well."""

    reason: str  #: one line, without the DETAIL that can hold values
    sqlstate: str | None = None
    line: int | None = None  #: in the revision's file
    findings: frozenset[FindingId] = frozenset()  #: with which one of our own directives refused
    not_implemented: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """One statement of a revision, and what it did to tables that were there before the revision."""

    statement: str
    line: int | None  #: in the revision's file
    seconds: float  #: of its own, without what it waited for the one who traced it
    held: tuple[tuple[str, str], ...]  #: table and strongest lock mode, ``ACCESS EXCLUSIVE``, that its transaction held
    #: table and ``scan``, ``build`` or ``rewrite`` that it went through; in a transaction, if that held SHARE or more
    worked: tuple[tuple[str, str], ...]

    @property
    def strong(self) -> bool:
        """Whether its transaction held a lock that stops writers."""
        return any(mode in STRONG_MODES for _table, mode in self.held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A revision on empty tables: up, down and up again."""

    revision: Revision
    before: Catalog
    after: Catalog | None = None
    returned: Catalog | None = None  #: after the downgrade
    up: Failure | None = None
    down: Failure | None = None
    up_again: Failure | None = None
    statements: tuple[Traced, ...] = ()

    @property
    def new_unique(self) -> tuple[Index, ...]:
        """Unique indexes that the revision puts on tables that were there before it, as those tables were then.

        Their own names are the new ones; the table, and the columns that they read, have the names from before.
        """
        if self.after is None:
            return ()
        had = {index.oid for index in self.before.indexes}
        new = [one for one in self.after.indexes if one.unique and not one.is_partition and one.oid not in had]
        tables = [(self.after.table(one.relid), one) for one in new]
        return tuple(found for now, one in tables if now and (found := self._earlier(one, now)))

    def _earlier(self, index: Index, now: Table) -> Index | None:
        """Return the new index as one of a table before the revision; None where there was no such table."""
        was = self.before.counterpart(now)
        if was is None:
            return None
        if was.oid == now.oid:
            # A column keeps its number under another name. One with a new number may be there in a new form.
            pairs = zip(now.columns, was.columns, strict=False)
            index = index.renamed({name: old for name, old in pairs if name and old and name != old})
        elif index.uniqueness in [one.uniqueness for one in self.before.indexes if one.unique and one.relid == was.oid]:
            return None  # made anew with its table, and no more unique than before
        return replace(index, relid=was.oid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A revision on tables with rows: up, verified, down, compared, up again."""

    revision: Revision
    table: str  #: ``schema.table``
    filled: Filled | None = None
    not_filled: str | None = None  #: why the table is empty
    extras: int = 0  #: rows that would have to leave, counted before the upgrade
    key: str = ""  #: the uniqueness, as people write it
    suggestion: str | None = None  #: what to write instead
    refused: tuple[Failure, ...] = ()  #: refusals before the try that is told here
    up: Failure | None = None
    after: Catalog | None = None  #: after the upgrade, whether it failed or not
    unproven: str | None = None  #: what the catalog or a count says against the uniqueness
    down: Failure | None = None
    differs: dict[str, tuple[int, int]] = field(default_factory=dict)  #: table → rows lost and gained by its end
    up_again: Failure | None = None
    statements: tuple[Traced, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Extras in the database that the revisions are meant for."""

    revision: str
    table: str
    key: str
    extras: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What the database that the revisions are meant for has, and has not."""

    pending: frozenset[str]  #: ids of revisions
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was seen."""

    heads: tuple[str, ...]
    revisions: tuple[Revision, ...]  #: that are checked, in the order of their upgrade
    steps: tuple[Step, ...]
    trips: tuple[Trip, ...]
    final: Catalog | None  #: after the last revision
    version_table: str = "alembic_version"
    metadata: tuple[Any, ...] = ()  #: the SQLAlchemy MetaData that env.py gives to Alembic
    include_object: Callable[..., Any] | None = None  #: as env.py gives it to Alembic
    include_name: Callable[..., Any] | None = None
    offline: dict[str, str] = field(default_factory=dict)  #: revision → SQL of ``alembic upgrade --sql``
    sources: tuple[Path, ...] = ()  #: code paths of --writers
    against: Against | None = None

    def revision(self, id_: str) -> Revision:
        """Return the revision of that id. Raises StopIteration where it is not checked."""
        return next(one for one in self.revisions if one.id == id_)
