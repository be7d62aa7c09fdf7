"""How each column of a table gets its value from a row's number, and the INSERT that follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

from dupe_audit.seeding.spec import Key, Spec
from dupe_audit.seeding.values import WIDE, Values
from dupe_audit.statements import ident

NULL = Values("NULL", 1)


@dataclass(slots=True, kw_only=True)
class Source:
    """Where the values of some columns come from: they belong together, and one number chooses them all."""

    values: dict[str, Values]  #: of each column; of a relation's columns ``p.c0``, ``p.c1``…
    size: int | None  #: of different choices; None where they never run out
    relation: str | None = None  #: a query of ``i`` (from 0) and the columns
    sprinkle: bool = False  #: every eleventh value is NULL
    stride: int = 0  #: so many rows in sequence get the same choice; 0 while nobody has decided

    @classmethod
    def single(cls, name: str, values: Values) -> Source:
        """Return the source of one column."""
        return cls(values={name: values}, size=None if (values.size or WIDE) >= WIDE else values.size)


@dataclass(slots=True, kw_only=True)
class Plan:
    """The sources of a table's columns; a column without one gets its default."""

    spec: Spec
    sources: list[Source] = field(default_factory=list)
    linked: list[list[Source]] = field(default_factory=list)  #: that satisfy a check only for the same number

    def of(self, names: Iterable[str]) -> list[Source]:
        """Return the sources of these columns, each once."""
        found = [source for name in names for source in self.sources if name in source.values]
        return [source for n, source in enumerate(found) if all(source is not one for one in found[:n])]

    def has(self, name: str) -> bool:
        """Return whether the column is written."""
        return any(name in source.values for source in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """What rows of a group share, and what they do not; by column."""

    fresh: frozenset[str] = frozenset()  #: a value of its own for each row
    divergent: frozenset[str] = frozenset()  #: another value than the survivor's
    null: str | None = None


def allocate(plan: Plan, keys: Sequence[Key]) -> int | None:
    """Give each source its stride, so that the keys hold; return how many rows they allow, None for any number."""
    capacity: int | None = None
    for key in keys:
        members = plan.of(key.columns)
        sizes = [source.size for source in members if source.size is not None]
        if not members or len(sizes) < len(members) or not all(plan.has(name) for name in key.columns):
            continue
        if any(values == NULL for source in members for values in source.values.values()):
            continue  # a NULL is equal to none
        reached = 1
        for source, size in zip(members, sizes, strict=True):
            source.stride = source.stride or reached
            reached = max(reached, source.stride * size)
        if key.predicate is None:
            capacity = min(capacity or prod(sizes), prod(sizes))
    for together in plan.linked:
        slowest = max(source.stride for source in together)
        for source in together:
            source.stride = slowest
    for source in plan.sources:
        source.stride = source.stride or 1
    return capacity


def select(plan: Plan, rows: str, copying: Copying | None = None) -> str:
    """Return the query of all written columns for *rows*, a query of n, k (the row to copy) and d (0 or 1)."""
    copying = copying or Copying()
    outputs: dict[str, str] = {}
    joins = []
    for number, source in enumerate(plan.sources):
        index = _index(source, copying)
        if source.relation:
            joins.append(f"LEFT JOIN ({source.relation}) AS p{number} ON p{number}.i = {index}")
        for name, values in source.values.items():
            made = values.at(index).replace("p.", f"p{number}.", 1) if source.relation else values.at(index)
            if source.sprinkle:
                made = f"CASE WHEN ({index}) % 11 = 10 THEN NULL ELSE {made} END"
            if name == copying.null:
                made = "NULL"
            outputs[name] = made
    columns = [column for column in plan.spec.columns if column.name in outputs]
    listed = ", ".join(f"({outputs[column.name]})::{column.type.written} AS {ident(column.name)}" for column in columns)
    return f'SELECT r.n AS "dupe_audit n"{", " if listed else ""}{listed} FROM ({rows}) AS r {" ".join(joins)}'


def _index(source: Source, copying: Copying) -> str:
    names = source.values.keys()
    number = "r.n" if names & copying.fresh else "r.k"
    index = number if (source.stride or 1) == 1 else f"({number} / {source.stride})"
    if names & copying.divergent:
        index = f"({index} + r.d)"
    return index if source.size is None else f"({index} % {source.size})"


def visible(plan: Plan, rows: str) -> str:
    """Return the query of the rows with their generated columns, as a table that conditions can be asked about."""
    made = [c for c in plan.spec.columns if c.generated and all(plan.has(name) for name in c.generated_from)]
    more = "".join(f", ({column.generated}) AS {ident(column.name)}" for column in made)
    alias = plan.spec.alias
    return f"(SELECT {alias}.*{more} FROM ({select(plan, rows)}) AS {alias}) AS {alias}"


def insert(plan: Plan, rows: str, copying: Copying | None = None) -> str:
    """Return the INSERT of the rows, in the order of their numbers; rows that a key forbids are left out."""
    names = [column.name for column in plan.spec.columns if plan.has(column.name)]
    # A deferrable key cannot arbitrate, and rules rewrite an INSERT only without ON CONFLICT.
    plain = plan.spec.rules or any(key.deferrable for key in plan.spec.keys)
    listed = ", ".join(map(ident, names))
    chosen = f'SELECT {listed} FROM ({select(plan, rows, copying)}) AS made ORDER BY made."dupe_audit n"'
    if not names:
        return f"INSERT INTO {plan.spec.name} SELECT FROM ({rows}) AS r"
    conflict = "" if plain else " ON CONFLICT DO NOTHING"
    return f"INSERT INTO {plan.spec.name} ({listed}) {chosen}{conflict}"


def numbers(first: int, count: int, without: Collection[int] = ()) -> str:
    """Return the query of plain rows: so many numbers from *first* on, each its own."""
    left_out = f" WHERE n <> ALL (ARRAY[{', '.join(map(str, without))}]::pg_catalog.int8[])" if without else ""
    series = f"pg_catalog.generate_series({first}::pg_catalog.int8, {first + count - 1}::pg_catalog.int8)"
    return f"SELECT n, n AS k, 0 AS d FROM {series} AS n{left_out}"
