"""Rows that differ in the columns of a key but are equal under it; the server decides which these are.

They matter where a key becomes stricter: an existing key forbids equal rows, and allows these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from typing import cast

from sqlalchemy import Connection

from dupe_audit.schema.facts import Index
from dupe_audit.schema.rowsets import compared, elements_sql
from dupe_audit.seeding.candidates import Literals
from dupe_audit.seeding.plan import Plan, generated_sql, select_sql
from dupe_audit.seeding.satisfy import condition, try_query
from dupe_audit.seeding.variants import variants
from dupe_audit.statements import ident, literal, statement

#: by column: the values of a survivor and of its extra, as SQL
Pairs = dict[str, tuple[str, str]]

GROUPS = 25  #: groups of values per query
PER_GROUP = 4  #: pairs from one group
CROSSED = 40  #: values per column if two columns vary together


class Collisions:
    """Looks for pairs of rows that a unique index considers equal."""

    def __init__(self, connection: Connection, plan: Plan, index: Index, number: int) -> None:
        """Look near the row with that number, which no other row has."""
        self._connection = connection
        self._plan = plan
        self._index = index
        self._number = number
        written = [name for name in plan.spec.inputs(index.reads) if plan.writes(name)]
        self._columns = list(dict.fromkeys(written))
        self._base = select_sql(plan, statement("scratch/seed_groups", rows=f"({number}, {number}, 0)"))
        self._pools = {name: pool for name in self._columns if (pool := self._pool(name))}

    def different(self) -> Iterator[Pairs]:
        """Yield pairs of rows that differ in one column of the key, then those that differ in two."""
        for count in (1, 2):
            for names in combinations(self._pools, count):
                yield from self._pairs(names)

    def equal(self) -> Iterator[Pairs]:
        """Yield values that both rows have: those of the plan, NULLs, and the values in the key's definition."""
        yield {}
        nullable = [name for name in self._columns if not self._plan.spec.column(name).not_null]
        for count in (1, 2):
            for names in combinations(nullable, count):
                yield dict.fromkeys(names, ("NULL", "NULL"))
        strings = {literal(string) for string in self._literals.strings}
        for name, pool in self._pools.items():
            yield from ({name: (value, value)} for value in map(literal, pool) if value in strings)

    @property
    def _literals(self) -> Literals:
        return Literals.of([*self._index.elements, self._index.predicate or ""])

    def _pool(self, name: str) -> list[str | None]:
        """Return values of a column, each as text and once; none if they have to come from another table."""
        (source,) = self._plan.sources_of([name])
        if source.relation:
            return []
        type_ = self._plan.spec.column(name).type.formatted
        rows = try_query(self._connection, f"SELECT (base.{ident(name)})::pg_catalog.text FROM ({self._base}) AS base")
        if not rows:
            return []
        value = "NULL" if rows[0][0] is None else literal(str(rows[0][0]))
        numbers = [self._number + step for step in (1, 2, 3)]
        formula, size = source.formulas[name], source.size or 10**9
        neighbours = [f"({formula.at(str(number % size))})::{type_}" for number in numbers]
        values = variants(self._plan.spec.column(name), f"({value})::{type_}", neighbours, self._literals)
        queries = [f"SELECT (({value})::{type_})::pg_catalog.text" for value in values]
        answers = try_query(self._connection, " UNION ALL ".join(queries))
        if answers is None:  # some value is not valid, so each is tried separately
            answers = [row for query in queries for row in try_query(self._connection, query) or []]
        pool = list(dict.fromkeys(None if row[0] is None else str(row[0]) for row in answers))
        if self._query([(name, pool)]) is None:  # the key cannot be evaluated on some value
            pool = [text for text in pool if self._query([(name, [text])]) is not None]
        return pool

    def _pairs(self, names: Sequence[str]) -> Iterator[Pairs]:
        most = None if len(names) == 1 else CROSSED
        for (cells,) in self._query([(name, self._pools[name][:most]) for name in names]) or []:
            survivor, *extras = cast("list[list[str | None]]", cells)
            for extra in islice(extras, PER_GROUP):
                values = zip(names, survivor, extra, strict=True)
                yield {name: (literal(first), literal(second)) for name, first, second in values}

    def _query(self, pools: Sequence[tuple[str, Sequence[str | None]]]) -> list[tuple[object, ...]] | None:
        """Return the groups of values that the index considers equal, or None if it cannot be evaluated on some."""
        plan = self._plan
        types = {column.name: column.type.formatted for column in plan.spec.columns}
        varied = {name: f"(pool{n}.value)::{types[name]}" for n, (name, _) in enumerate(pools)}
        written = [column.name for column in plan.spec.columns if plan.writes(column.name)]
        arrays = [f"ARRAY[{', '.join(map(literal, pool))}]::pg_catalog.text[]" for _, pool in pools]
        tables = [
            f"pg_catalog.unnest({array}) WITH ORDINALITY AS pool{n}(value, place)" for n, array in enumerate(arrays)
        ]
        checks = [check for check in plan.spec.checks if all(plan.writes(name) for name in check.columns)]
        query = statement(
            "scratch/seed_collisions",
            more_columns=generated_sql(plan),
            cells=f"ARRAY[{', '.join(f'pool{n}.value' for n in range(len(pools)))}]",
            place=f"ARRAY[{' + '.join(f'pool{n}.place' for n in range(len(pools)))}, pool0.place]",
            columns="".join(f", {varied.get(name, f'base.{ident(name)}')} AS {ident(name)}" for name in written),
            base=self._base,
            pools=" CROSS JOIN ".join(tables),
            alias=plan.spec.alias,
            condition=" AND ".join(["true", *compared(self._index), *([condition(checks)] if checks else [])]),
            keys=elements_sql(self._index),
            limit=str(GROUPS),
        )
        return try_query(self._connection, query)
