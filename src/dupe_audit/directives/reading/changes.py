"""What one statement of a revision changes about tables and their uniqueness, whoever wrote the statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dupe_audit.model import Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """A change of a table. Names are as in the catalog, unquoted."""

    schema: str | None = None  #: None: the search path decides
    table: str | None = None  #: None if the statement does not name the table, as DROP INDEX


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTable(SchemaChange):
    """A table is created; it has no rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewColumn(SchemaChange):
    """A column is added; without a default it is NULL in every row."""

    column: str
    has_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey(SchemaChange):
    """A constraint or an index that makes rows unique is created."""

    name: str | None  #: None: PostgreSQL chooses it
    columns: tuple[str, ...] | None  #: None for an expression, a predicate or an exclusion constraint
    elements: tuple[str | Expression, ...] | None = None  #: of an index that has one of the former, if they can be read
    where: str | None = None  #: its predicate
    nulls_not_distinct: bool = False
    primary: bool = False
    inline: bool = False  #: part of the statement that creates the table
    sql: str = ""  #: the statement, in one line


@dataclass(frozen=True, slots=True, kw_only=True)
class NewName(SchemaChange):
    """A constraint or an index that makes nothing unique is created; a later statement may drop it by name."""

    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retyped(SchemaChange):
    """A column gets another type, and perhaps other values."""

    column: str
    type: str | None = None  #: in SQL; None if it cannot be compiled
    using: str | None = None  #: the expression for the new values


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRows(SchemaChange):
    """A table gets rows, or its columns get values, that are not written in the revision."""

    rows: bool  #: False for an UPDATE
    distinct: frozenset[str] | None = None  #: columns in which no two of the rows are equal, if they are known
    skips: frozenset[str] | None = None  #: columns of ON CONFLICT DO NOTHING; an empty set: of any existing key
    partition: tuple[str | None, str] | None = None  #: schema and name of a table that is attached with its rows
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEnum(SchemaChange):
    """A type with labels is created."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRoutine(SchemaChange):
    """A function or a procedure is created; nothing executes it yet."""

    name: str
    changes: tuple[SchemaChange, ...]  #: of its body, as far as they can be read


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutineCall(SchemaChange):
    """A statement calls functions or procedures."""

    names: frozenset[str]
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone(SchemaChange):
    """Something is dropped."""

    kind: Literal["table", "column", "name"]  #: ``name``: a constraint or an index
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed(SchemaChange):
    """Something gets another name; of a table, perhaps another schema."""

    kind: Literal["table", "column", "name"]
    name: str
    new: str
    new_schema: str | None = None  #: of a table that moves


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear(SchemaChange):
    """A statement that creates or drops something, but cannot be read."""

    text: str
    declares: bool  #: it mentions uniqueness
