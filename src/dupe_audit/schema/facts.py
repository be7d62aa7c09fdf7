"""Tables and indexes, as the catalog describes them at one moment. Facts; nothing here acts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dupe_audit.statements import ident

#: a quoted text, a quoted name, or a word that may be a name; a parenthesis after it makes it a function's name
_NAME = re.compile(r"'(?:[^']|'')*'|(?P<name>\"(?:[^\"]|\"\")*\"|[^\W\d][\w$]*)(?P<call>\s*\()?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index, as the catalog describes it."""

    oid: int
    schema: str
    name: str
    relid: int  #: oid of its table
    table: str  #: ``schema.table``
    unique: bool
    primary: bool
    valid: bool
    method: str  #: access method, such as ``btree``
    elements: tuple[str, ...]  #: each element of its key as SQL: a quoted column name or an expression
    columns: tuple[str | None, ...]  #: each element's column name; None for an expression
    include: tuple[str, ...]  #: columns after INCLUDE
    reads: tuple[str, ...]  #: every column that its elements and its predicate read
    predicate: str | None
    nulls_not_distinct: bool
    constraint: str | None  #: name of the constraint that owns it
    deferrable: bool
    deferred: bool
    definition: str
    is_partition: bool = False  #: belongs to an index on a partitioned table

    @property
    def kind(self) -> Literal["primary key", "constraint", "index"]:
        """What it is to those who read the table's definition."""
        return "primary key" if self.primary else "constraint" if self.constraint else "index"

    @property
    def uniqueness(self) -> tuple[Any, ...]:
        """What it enforces: two indexes with the same value are equally unique."""
        return frozenset(self.elements), self.predicate, self.nulls_not_distinct, self.method

    def renamed(self, names: Mapping[str, str]) -> Index:
        """Return the index with its columns renamed wherever it reads them; *names* maps old names to new ones."""
        new = self._with({old: ident(name) for old, name in names.items()})
        return replace(
            new,
            columns=tuple(None if column is None else names.get(column, column) for column in self.columns),
            include=tuple(names.get(column, column) for column in self.include),
            reads=tuple(names.get(column, column) for column in self.reads),
        )

    def computed(self, generated: Sequence[GeneratedColumn]) -> Index:
        """Return the index with the expressions of generated columns in their place."""
        expressions = {column.name: f"({column.expression})" for column in generated}
        inputs = {column.name: column.columns for column in generated}
        read = [name for column in self.reads for name in inputs.get(column, (column,))]
        return replace(
            self._with(expressions),
            columns=tuple(None if column in expressions else column for column in self.columns),
            reads=tuple(dict.fromkeys(read)),
        )

    def converted(self, types: Mapping[str, str]) -> Index:
        """Return the index with columns converted to other types where it reads them."""
        return self._with({name: f"({ident(name)})::{type_}" for name, type_ in types.items()}) if types else self

    def _with(self, replacements: Mapping[str, str]) -> Index:
        """Return the index with columns replaced by SQL in its elements and its predicate."""
        quoted = {spelling: sql for name, sql in replacements.items() for spelling in (name, ident(name))}

        def replacement(match: re.Match[str]) -> str:
            return match[0] if match["call"] else quoted.get(match["name"], match[0])

        def sql(text: str) -> str:
            return _NAME.sub(replacement, text)

        predicate = None if self.predicate is None else sql(self.predicate)
        return replace(self, elements=tuple(map(sql, self.elements)), predicate=predicate)


@dataclass(frozen=True, slots=True)
class GeneratedColumn:
    """A column that the server computes from others."""

    name: str
    expression: str
    columns: tuple[str, ...]  #: that the expression reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the project, ordinary or partitioned."""

    oid: int
    schema: str
    name: str
    columns: tuple[str | None, ...] = ()  #: in the order of their numbers; None for a dropped one
    types: tuple[str | None, ...] = ()  #: of the columns: category, a space, and the type as SQL
    generated: tuple[GeneratedColumn, ...] = ()
    partitioned: bool = False
    part_of: int | None = None  #: oid of the table that it is a partition of

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def retyped(self, earlier: Table) -> dict[str, str]:
        """Return the columns that have another type of the same category than in an *earlier* state of this table.

        The conversion can make values equal: of text to citext, of a moment to a date.
        """
        pairs = zip(self.columns, self.types, earlier.types, strict=False)
        changed = [(name, new.split(" ", 1), old.split(" ", 1)) for name, new, old in pairs if name and new and old]
        return {name: new[1] for name, new, old in changed if new != old and new[0] == old[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The schema at one moment, without objects of the system, of extensions and of dupe-audit."""

    tables: tuple[Table, ...]
    indexes: tuple[Index, ...]
    objects: dict[str, str]  #: ``column public.t.a`` → its definition; to compare two moments

    def table(self, oid: int) -> Table | None:
        """Return the table with that oid, or None."""
        return next((table for table in self.tables if table.oid == oid), None)

    def roots(self) -> dict[str, str]:
        """Return, for each partition, the partitioned table at the top of its tree; both by their names."""
        by_oid = {table.oid: table for table in self.tables}
        roots = {}
        for table in self.tables:
            root = table
            while root.part_of in by_oid:
                root = by_oid[root.part_of]
            if root is not table:
                roots[str(table)] = str(root)
        return roots

    def counterpart(self, table: Table) -> Table | None:
        """Return the table of another moment in this one: by oid, as it may have been renamed, or else by name."""
        return self.table(table.oid) or next((other for other in self.tables if str(other) == str(table)), None)
