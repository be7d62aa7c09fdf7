"""Tables and indexes, as the catalog has them at one moment. Facts; nothing here acts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dupe_audit.statements import ident

#: a text, a quoted name, or a word that may be a name; with what shows that it is a function's
_NAME = re.compile(r"'(?:[^']|'')*'|(?P<name>\"(?:[^\"]|\"\")*\"|[^\W\d][\w$]*)(?P<call>\s*\()?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index, as the catalog has it."""

    oid: int
    schema: str
    name: str
    relid: int  #: of its table
    table: str
    unique: bool
    primary: bool
    valid: bool
    method: str
    keys: tuple[str, ...]  #: each key part as SQL: a quoted column name or an expression
    columns: tuple[str | None, ...]  #: each key part's column name; None for an expression
    include: tuple[str, ...]
    uses: tuple[str, ...]  #: every column that keys, expressions and predicate read
    predicate: str | None
    nulls_not_distinct: bool
    constraint: str | None  #: name of the constraint that owns it
    deferrable: bool
    deferred: bool
    definition: str
    part: bool = False  #: of an index on the whole partitioned table

    @property
    def form(self) -> tuple[Any, ...]:
        """What makes it as unique as another one."""
        return frozenset(self.keys), self.predicate, self.nulls_not_distinct, self.method

    def renamed(self, names: Mapping[str, str]) -> Index:
        """Return it with other names for columns, wherever it reads them."""
        written = {form: ident(new) for old, new in names.items() for form in (old, ident(old))}

        def sql(text: str) -> str:
            return _NAME.sub(lambda one: one[0] if one["call"] else written.get(one["name"], one[0]), text)

        return replace(
            self,
            keys=tuple(map(sql, self.keys)),
            columns=tuple(names.get(one, one) if one is not None else None for one in self.columns),
            include=tuple(names.get(one, one) for one in self.include),
            uses=tuple(names.get(one, one) for one in self.uses),
            predicate=None if self.predicate is None else sql(self.predicate),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the project, ordinary or partitioned."""

    oid: int
    schema: str
    name: str
    columns: tuple[str | None, ...] = ()  #: by their numbers, from 1 on; None for one that was dropped
    partitioned: bool = False
    part_of: int | None = None  #: oid of the table whose partition it is

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The schema at one moment, without the system's, an extension's and this software's own objects."""

    tables: tuple[Table, ...]
    indexes: tuple[Index, ...]
    objects: dict[str, str]  #: ``column public.t.a`` → its definition; for comparing two moments

    def table(self, oid: int) -> Table | None:
        """Return the table of that oid."""
        return next((one for one in self.tables if one.oid == oid), None)

    def stands_for(self, table: Table) -> Table | None:
        """Return the table that is that one here: the same, under whatever name, or else the one of its name."""
        return self.table(table.oid) or next((one for one in self.tables if str(one) == str(table)), None)
