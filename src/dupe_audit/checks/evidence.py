"""What the rules judge: the revisions, and what the server reported while they ran. Facts only; nothing here acts."""

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
    """One revision, as read from its file."""

    id: str
    parents: tuple[str, ...]  #: ids of the revisions that it follows or depends on
    path: Path
    file: str  #: as in Place.file
    upgrade_line: int
    downgrade_line: int | None
    empty_upgrade: bool  #: upgrade() does nothing
    empty_downgrade: bool
    refuses_downgrade: bool  #: downgrade() only raises
    accepts: frozenset[str]  #: finding ids that a comment in the file accepts

    def place(self, line: int | None = None, *, downgrade: bool = False) -> Place:
        """Return a place in the file, by default the line where upgrade() or downgrade() begins."""
        begins = self.downgrade_line if downgrade else self.upgrade_line
        return Place(file=self.file, line=line or begins or 1, revision=self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a revision failed."""

    reason: str  #: one line, without the DETAIL, which can contain values
    sqlstate: str | None = None
    line: int | None = None  #: in the revision's file
    findings: frozenset[FindingId] = frozenset()  #: finding ids with which one of our directives refused
    not_implemented: bool = False
    help: str | None = None  #: what to do, if it is not what the finding advises


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStatement:
    """One statement of a revision, and its effect on tables that existed before the revision."""

    statement: str
    line: int | None  #: in the revision's file
    seconds: float  #: without the time that it waited for the tracer
    locks: tuple[
        tuple[str, str], ...
    ]  #: table and the strongest lock mode held by the transaction: ``ACCESS EXCLUSIVE``
    #: table and ``scan``, ``build`` or ``rewrite``; inside a transaction, only while it holds SHARE or stronger
    work: tuple[tuple[str, str], ...]

    @property
    def blocks_writers(self) -> bool:
        """Whether its transaction held a lock that blocks writers."""
        return any(mode in STRONG_MODES for _table, mode in self.locks)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyTrip:
    """A revision on empty tables: up, down and up again."""

    revision: Revision
    before: Catalog
    after: Catalog | None = None
    after_downgrade: Catalog | None = None
    upgrade_failure: Failure | None = None
    downgrade_failure: Failure | None = None
    second_upgrade_failure: Failure | None = None
    statements: tuple[TracedStatement, ...] = ()

    @property
    def new_unique(self) -> tuple[Index, ...]:
        """Unique indexes that the revision adds to existing tables, described on those tables as they were before.

        An index has its new name; its table, and the columns that it reads, have their names from before the revision.
        """
        if self.after is None:
            return ()
        existing = {index.oid for index in self.before.indexes}
        new = [
            index
            for index in self.after.indexes
            if index.unique and not index.is_partition and index.oid not in existing
        ]
        tables = [(self.after.table(index.relid), index) for index in new]
        return tuple(earlier for table, index in tables if table and (earlier := self._earlier(index, table)))

    def _earlier(self, index: Index, table: Table) -> Index | None:
        """Return a new index as an index of the table before the revision; None if that table did not exist."""
        earlier_table = self.before.counterpart(table)
        if earlier_table is None:
            return None
        # A renamed column keeps its number. A column with a new number may replace an old one of the same name.
        numbered = dict(zip(table.columns, earlier_table.columns, strict=False))
        former = numbered if earlier_table.oid == table.oid else {name: name for name in earlier_table.columns}
        # What the server will compute in a column that does not exist yet can be computed from the others.
        index = index.computed([column for column in table.generated if not former.get(column.name)])
        if earlier_table.oid == table.oid:
            index = index.converted(table.retyped(earlier_table))
            index = index.renamed({name: old for name, old in numbered.items() if name and old and name != old})
        elif index.uniqueness in [
            old.uniqueness for old in self.before.indexes if old.unique and old.relid == earlier_table.oid
        ]:
            return None  # re-created with its table, which is no more unique than before
        return replace(index, relid=earlier_table.oid)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededTrip:
    """A revision on a table with rows: up, verified, down, compared, up again."""

    revision: Revision
    table: str  #: ``schema.table``
    filled: Filled | None = None
    not_filled: str | None = None  #: why the table is empty
    extras: int = 0  #: rows that would have to leave, counted before the upgrade
    key: str = ""  #: the new keys, as people write them
    untried: tuple[str, ...] = ()  #: new keys under which no extras could be generated, though nothing rules them out
    suggestion: str | None = None  #: directives to write instead
    refusals: tuple[Failure, ...] = ()  #: of earlier attempts, with kinds of extras that a directive refuses
    upgrade_failure: Failure | None = None
    after: Catalog | None = None  #: after the upgrade, even a failed one
    unproven: str | None = None  #: why the catalog or a count contradicts the uniqueness
    downgrade_failure: Failure | None = None
    row_changes: dict[str, tuple[int, int]] = field(default_factory=dict)  #: table → rows lost and gained up and down
    second_upgrade_failure: Failure | None = None
    statements: tuple[TracedStatement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingExtras:
    """Extras in the database that the revisions will be applied to."""

    revision: str
    table: str
    key: str
    extras: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What the database of ``--against`` has and lacks."""

    pending: frozenset[str]  #: ids of revisions that are not applied
    waiting: tuple[WaitingExtras, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that the rules may look at."""

    heads: tuple[str, ...]
    revisions: tuple[Revision, ...]  #: those that are checked, in upgrade order
    empty_trips: tuple[EmptyTrip, ...]
    seeded_trips: tuple[SeededTrip, ...]
    final_schema: Catalog | None  #: after the last revision
    version_table: str = "alembic_version"
    metadata: tuple[Any, ...] = ()  #: the SQLAlchemy MetaData that env.py gives to Alembic
    include_object: Callable[..., Any] | None = None  #: as env.py gives it to Alembic
    include_name: Callable[..., Any] | None = None
    offline_sql: dict[str, str] | None = None  #: revision → output of ``alembic upgrade --sql``; None without --squawk
    writer_paths: tuple[Path, ...] = ()  #: files and directories of --writers
    target: TargetState | None = None  #: None without --against

    def revision(self, id_: str) -> Revision:
        """Return the checked revision with that id.

        Raises:
            StopIteration: no checked revision has it.
        """
        return next(revision for revision in self.revisions if revision.id == id_)


def table_named(catalog: Catalog, schema: str | None, name: str) -> Table | None:
    """Return the table of that name; without a schema, the one in ``public`` or the only one of that name."""
    same_name = [table for table in catalog.tables if table.name == name]
    if schema is None and len(same_name) > 1:
        schema = "public"
    matches = [table for table in same_name if schema in (None, table.schema)]
    return matches[0] if len(matches) == 1 else None
