"""How each column of a table gets its value from a row's number, and the INSERT that follows from it.

Rows to generate are a query of three columns: ``n``, the row's number; ``k``, the number of the row whose values it
copies, which is ``n`` itself unless the row is an extra; and ``d``, 1 if it carries other data than that row, else 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from dupe_audit.seeding.spec import KeySpec, TableSpec
from dupe_audit.seeding.values import UNLIMITED, Formula
from dupe_audit.statements import ident, statement

NULL = Formula("NULL", 1)


@dataclass(slots=True, kw_only=True)
class ColumnSource:
    """Where the values of one or more columns come from; one number chooses the values of all of them."""

    formulas: dict[str, Formula]  #: by column; for the columns of a relation ``p.c0``, ``p.c1``…
    size: int | None  #: number of distinct choices; None if they never run out
    relation: str | None = None  #: a query of ``i`` (from 0) and the columns
    sprinkle_nulls: bool = False  #: every eleventh value is NULL
    stride: int = 0  #: number of consecutive rows that get the same choice; 0 until ``allocate`` decides

    @classmethod
    def single(cls, name: str, formula: Formula) -> ColumnSource:
        """Return the source of one column."""
        return cls(formulas={name: formula}, size=None if (formula.size or UNLIMITED) >= UNLIMITED else formula.size)


@dataclass(slots=True, kw_only=True)
class Plan:
    """The sources of a table's columns; a column without one gets its default."""

    spec: TableSpec
    sources: list[ColumnSource] = field(default_factory=list)
    linked: list[list[ColumnSource]] = field(default_factory=list)  #: satisfy a check only with the same number

    def sources_of(self, names: Iterable[str]) -> list[ColumnSource]:
        """Return the sources of these columns, each once."""
        sources = [source for name in names for source in self.sources if name in source.formulas]
        return [source for n, source in enumerate(sources) if all(source is not earlier for earlier in sources[:n])]

    def writes(self, name: str) -> bool:
        """Return whether the INSERT writes the column."""
        return any(name in source.formulas for source in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """In which columns the rows of a group differ; they share all others."""

    fresh: frozenset[str] = frozenset()  #: each row has its own value
    divergent: frozenset[str] = frozenset()  #: an extra has another value than its survivor
    null: str | None = None  #: every row has NULL in this column
    #: by column: the values of a survivor and of its extra, as SQL; a key may consider them equal
    pairs: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def allocate(plan: Plan, keys: Sequence[KeySpec]) -> int | None:
    """Give each source its stride, so that the keys hold; return how many rows they allow, None for any number."""
    capacity: int | None = None
    for key in keys:
        members = plan.sources_of(key.columns)
        sizes = [source.size for source in members if source.size is not None]
        if not members or len(sizes) < len(members) or not all(plan.writes(name) for name in key.columns):
            continue
        if any(formula == NULL for source in members for formula in source.formulas.values()):
            continue  # NULLs are distinct
        reached = 1
        for source, size in zip(members, sizes, strict=True):
            source.stride = source.stride or reached
            reached = max(reached, source.stride * size)
        if key.predicate is None:
            capacity = min(capacity or prod(sizes), prod(sizes))
    for sources in plan.linked:
        slowest = max(source.stride for source in sources)
        for source in sources:
            source.stride = slowest
    for source in plan.sources:
        source.stride = source.stride or 1
    return capacity


def select_sql(plan: Plan, rows: str, variation: Variation | None = None) -> str:
    """Return the query of all columns that the plan writes, for *rows* (a query of n, k and d)."""
    variation = variation or Variation()
    outputs: dict[str, str] = {}
    joins = []
    for number, source in enumerate(plan.sources):
        choice = _choice(source, variation)
        if source.relation:
            joins.append(f"LEFT JOIN ({source.relation}) AS p{number} ON p{number}.i = {choice}")
        for name, formula in source.formulas.items():
            value = formula.at(choice).replace("p.", f"p{number}.", 1) if source.relation else formula.at(choice)
            if source.sprinkle_nulls:
                value = f"CASE WHEN ({choice}) % 11 = 10 THEN NULL ELSE {value} END"
            if name == variation.null:
                value = "NULL"
            if name in variation.pairs:
                survivor, extra = variation.pairs[name]
                value = survivor if survivor == extra else f"CASE WHEN r.n = r.k THEN {survivor} ELSE {extra} END"
            outputs[name] = value
    columns = [column for column in plan.spec.columns if column.name in outputs]
    values = [f", ({outputs[column.name]})::{column.type.formatted} AS {ident(column.name)}" for column in columns]
    return statement("scratch/seed_select", more_columns="".join(values), rows=rows, joins=" ".join(joins))


def _choice(source: ColumnSource, variation: Variation) -> str:
    """Return the SQL for the number of the choice that a row takes from the source."""
    names = source.formulas.keys()
    number = "r.n" if names & variation.fresh else "r.k"
    choice = number if (source.stride or 1) == 1 else f"({number} / {source.stride})"
    if names & variation.divergent:
        choice = f"({choice} + r.d)"
    return choice if source.size is None else f"({choice} % {source.size})"


def with_generated(plan: Plan, rows: str) -> str:
    """Return the rows with their generated columns, as an item of FROM on which conditions can be evaluated."""
    alias = plan.spec.alias
    return f"(SELECT {alias}.*{generated_sql(plan)} FROM ({select_sql(plan, rows)}) AS {alias}) AS {alias}"


def generated_sql(plan: Plan) -> str:
    """Return the generated columns that can be computed from those that the plan writes, to follow other outputs."""
    generated = [c for c in plan.spec.columns if c.generated and all(plan.writes(name) for name in c.generated_from)]
    return "".join(f", ({column.generated}) AS {ident(column.name)}" for column in generated)


def insert_sql(plan: Plan, rows: str, variation: Variation | None = None) -> str:
    """Return the INSERT of the rows, in the order of their numbers; rows that a key forbids are left out."""
    names = [column.name for column in plan.spec.columns if plan.writes(column.name)]
    if not names:
        return f"INSERT INTO {plan.spec.name} SELECT FROM ({rows}) AS r"
    # ON CONFLICT is impossible with a deferrable key, and on a table with rules.
    plain = plan.spec.rules or any(key.deferrable for key in plan.spec.keys)
    return statement(
        "scratch/seed_insert",
        table=plan.spec.name,
        columns=", ".join(map(ident, names)),
        query=select_sql(plan, rows, variation),
        conflict="" if plain else "ON CONFLICT DO NOTHING",
    )


def row_numbers(first: int, count: int, without: Collection[int] = ()) -> str:
    """Return the query of *count* plain rows with the numbers from *first* on, which copy no other row."""
    left_out = f"WHERE n <> ALL (ARRAY[{', '.join(map(str, without))}]::pg_catalog.int8[])" if without else ""
    return statement("scratch/seed_numbers", first=str(first), last=str(first + count - 1), where=left_out)
