"""Tables, columns and keys as a history of revisions leaves them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from dupe_audit.directives.reading.changes import NewKey, NewRows, Retyped
from dupe_audit.model import CleanupRule, UniqueKey


@dataclass(slots=True, eq=False)
class TrackedColumn:
    """A column, by whatever name."""

    first: str  #: its name before these revisions
    name: str  #: its name after them
    added: str | None = None  #: the revision that adds it, unless it exists
    replaces: bool = False  #: a revision has dropped or renamed the column of that name
    retyped: str | None = None  #: the revision that gives it another type
    has_values: bool = False  #: by a default, or because a revision writes them

    @property
    def is_null(self) -> bool:
        """Whether it is new, and no revision gives it values."""
        return self.added is not None and not self.has_values and self.retyped is None


@dataclass(slots=True, eq=False)
class Enforced:
    """A key that a revision enforces."""

    revision: str
    columns: tuple[TrackedColumn, ...] | None  #: None for an expression, a predicate or an exclusion constraint
    directive: UniqueKey | None = None  #: the key of our own directive
    rule: CleanupRule | None = None  #: of the cleanup of the same revision
    plain: NewKey | None = None  #: what a plain operation declares
    is_for_schema: bool = False  #: one of the schemas of a directive
    fills: list[str] = field(default_factory=list)  #: how rows that cannot be counted come under the key
    may_repeat: bool = False  #: such rows can be duplicates

    def fill(self, revision: str, fill: NewRows) -> None:
        """Note that a revision writes rows of the key's table."""
        names = {column.name for column in self.columns or ()}
        is_distinct = fill.distinct is not None and fill.distinct <= names and not self.fills
        self.may_repeat |= not is_distinct and (fill.skips is None or not fill.skips <= names)
        partition = fill.partition and fill.partition[1]
        verb = f"attaches partition {partition}" if partition else "fills that table"
        self.fills.append(f"revision {revision} {verb}")


@dataclass(slots=True, eq=False)
class TrackedTable:
    """A table, by whatever name, with the keys that are enforced on it."""

    schema: str | None
    name: str
    first: tuple[str | None, str]  #: schema and name before these revisions
    created: str | None = None  #: the revision that creates it, unless it exists
    replaces: bool = False  #: a revision has dropped or renamed the table of that name
    fills: list[tuple[str, NewRows]] = field(default_factory=list)  #: each with its revision
    unclear: bool = False  #: a statement that could not be read may have changed it
    columns: dict[str, TrackedColumn] = field(default_factory=dict)  #: by their current names
    keys: dict[str, Enforced] = field(default_factory=dict)  #: by the names of their constraints or indexes
    names: set[str] = field(default_factory=set)  #: other constraints and indexes
    vacant: set[str] = field(default_factory=set)  #: names of columns that were dropped or renamed

    def column(self, name: str) -> TrackedColumn:
        """Return a column by its current name."""
        return self.columns.setdefault(name, TrackedColumn(first=name, name=name))

    def fill(self, revision: str, fill: NewRows) -> None:
        """Note that a revision writes rows or values."""
        for name, column in self.columns.items():
            if fill.rows or re.search(rf"\b{re.escape(name)}\b", fill.sql):
                column.has_values = True
        if fill.partition or (fill.rows and self.created):
            for key in self.keys.values():
                key.fill(revision, fill)
            self.fills.append((revision, replace(fill, skips=fill.skips or None)))  # later keys reject nothing yet

    def declare(self, name: str, key: Enforced) -> None:
        """Add a key; the rows that revisions have written before come under it."""
        for revision, fill in self.fills:
            key.fill(revision, fill)
        self.keys[name] = key


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexImpact:
    """What a revision brings under the existing unique indexes of a table: a partition, or other values of a column."""

    revision: str
    table: TrackedTable
    cause: Retyped | NewRows
    partition: TrackedTable | None = None
    column: TrackedColumn | None = None
    dropped: frozenset[str]  #: names of indexes and constraints that were dropped before

    @property
    def reason(self) -> str:
        """Why the rows under them can become duplicates."""
        if isinstance(self.cause, Retyped):
            type_ = f"type {self.cause.type}" if self.cause.type else "another type"
            return f"column {self.cause.column} gets {type_}, in which values that differ now may be equal"
        return f"it attaches partition {self.cause.partition and self.cause.partition[1]} with its rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """SQL that mentions uniqueness and could not be read."""

    revision: str
    text: str
