"""Make the sources of a plan satisfy its checks: try formulas and single values, and let the server judge them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, product

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.seeding.candidates import Literals, formulas, single_values
from dupe_audit.seeding.plan import NULL, ColumnSource, Plan, generated_sql, row_numbers, with_generated
from dupe_audit.seeding.spec import CheckSpec
from dupe_audit.seeding.values import Formula, N
from dupe_audit.statements import ident, literal, statement

TRIES = 400  #: combinations of formulas that are tried
POOL = 400  #: combinations of single values that are kept
CROSSED = 20_000  #: combinations of single values that the server judges


class CannotFill(DupeAuditError):
    """A table cannot be filled with generated rows; the message names the column, type or constraint at fault."""


def try_query(connection: Connection, query: str) -> list[tuple[object, ...]] | None:
    """Return the rows of a query, or None if it fails; the transaction can continue either way."""
    execute(connection, "SAVEPOINT dupe_audit_try")
    try:
        rows = [tuple(row) for row in execute(connection, query)]
    except DBAPIError:
        tidy(connection, "ROLLBACK TO SAVEPOINT dupe_audit_try")
        rows = None
    execute(connection, "RELEASE SAVEPOINT dupe_audit_try")
    return rows


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Undo what was executed inside if it raises."""
    execute(connection, "SAVEPOINT dupe_audit_seed")
    try:
        yield
    except BaseException:
        tidy(connection, "ROLLBACK TO SAVEPOINT dupe_audit_seed")
        raise
    finally:
        tidy(connection, "RELEASE SAVEPOINT dupe_audit_seed")


def satisfy(connection: Connection, plan: Plan, checks: Sequence[CheckSpec], first: int, count: int) -> None:
    """Change the plan's sources until *count* rows, numbered from *first* on, satisfy the checks.

    Raises:
        CannotFill: no formula or value that was tried satisfies them.
    """
    for sources, grouped in _groups(plan, checks):
        if _holds(connection, plan, sources, grouped, first, count):
            plan.linked.append(sources)
            continue
        replaced = sources[:]
        for source in sources:
            source.sprinkle_nulls = False
        solution = _by_formula(connection, plan, sources, grouped, first, count)
        solution = solution or _by_pool(connection, plan, sources, grouped)
        if solution is None:
            names = ", ".join(sorted({check.name for check in grouped}))
            columns = ", ".join(dict.fromkeys(name for source in sources for name in source.formulas))
            raise CannotFill(f"{plan.spec.title}: no generated value of {columns} satisfies {names}.")
        plan.sources = [source for source in plan.sources if not _is_among(source, replaced)] + solution
        plan.linked.append(solution)


def _is_among(source: ColumnSource, sources: Sequence[ColumnSource]) -> bool:
    """Return whether the list holds this very source, not only one that equals it."""
    return any(source is other for other in sources)


def _groups(plan: Plan, checks: Sequence[CheckSpec]) -> Iterator[tuple[list[ColumnSource], list[CheckSpec]]]:
    """Yield the sources that checks connect, with those checks; each group can be solved separately."""
    groups: list[tuple[list[ColumnSource], list[CheckSpec]]] = []
    for check in checks:
        if not check.columns or not all(plan.writes(name) for name in check.columns):
            continue  # it depends on values that the server fills in
        sources, grouped = plan.sources_of(check.columns), [check]
        for group in [group for group in groups if any(_is_among(source, sources) for source in group[0])]:
            groups.remove(group)
            sources = group[0] + [source for source in sources if not _is_among(source, group[0])]
            grouped = group[1] + grouped
        groups.append((sources, grouped))
    yield from groups


def condition(checks: Sequence[CheckSpec]) -> str:
    """Return the condition that a row satisfies all of the checks."""
    return " AND ".join(f"(({check.expression}) IS {'TRUE' if check.strict else 'NOT FALSE'})" for check in checks)


def _holds(
    connection: Connection,
    plan: Plan,
    sources: list[ColumnSource],
    checks: Sequence[CheckSpec],
    first: int,
    count: int,
) -> bool:
    """Return whether the checks hold for all rows, and sources that never run out have distinct values in them."""
    if count < 1:
        return True
    trial = Plan(spec=plan.spec, sources=sources)
    every = row_numbers(first, count)
    few = f"SELECT * FROM ({every}) AS s WHERE n - {first} IN (0, 1, 2, 10, {count // 2}, {count - 1})"
    endless = [ident(name) for source in sources if source.size is None for name in source.formulas]
    distinct = [f"pg_catalog.count(DISTINCT {name}::pg_catalog.text) = pg_catalog.count({name})" for name in endless]
    verdict = " AND ".join([f"pg_catalog.bool_and({condition(checks)})", *distinct])
    for rows in (few, every):  # a few rows are cheap, and most tries fail on them
        answer = try_query(connection, f"SELECT {verdict} FROM {with_generated(trial, rows)}")
        if not answer or answer[0][0] is not True:
            return False
    return True


def _alternatives(plan: Plan, source: ColumnSource, literals: Literals) -> list[ColumnSource]:
    if source.relation is None and len(source.formulas) == 1:
        (name,) = source.formulas
        return [ColumnSource.single(name, formula) for formula in formulas(plan.spec.column(name), literals)]
    nulls = ColumnSource(formulas=dict.fromkeys(source.formulas, NULL), size=1)
    return [source] + [nulls] * (not any(plan.spec.column(name).not_null for name in source.formulas))


def _by_formula(
    connection: Connection, plan: Plan, sources: list[ColumnSource], checks: Sequence[CheckSpec], first: int, count: int
) -> list[ColumnSource] | None:
    """Return the first combination of formulas that satisfies the checks, to replace these sources."""
    literals = Literals.of([check.expression for check in checks])
    alternatives = [_alternatives(plan, source, literals) for source in sources]
    for combination in islice(_by_rank(alternatives), TRIES):
        if _holds(connection, plan, combination, checks, first, count):
            return combination
    return None


def _by_rank(alternatives: list[list[ColumnSource]]) -> Iterator[list[ColumnSource]]:
    """Yield the combinations, one alternative per source, in the order of the sum of their ranks."""
    for total in range(sum(len(ranked) - 1 for ranked in alternatives) + 1):
        ranges = [range(min(total, len(ranked) - 1) + 1) for ranked in alternatives[:-1]]
        for ranks in product(*ranges):
            last = total - sum(ranks)
            if 0 <= last < len(alternatives[-1]):
                yield [ranked[rank] for ranked, rank in zip(alternatives, (*ranks, last), strict=True)]


def _by_pool(
    connection: Connection, plan: Plan, sources: list[ColumnSource], checks: Sequence[CheckSpec]
) -> list[ColumnSource] | None:
    """Return one source to replace these: the combinations of single values that satisfy the checks."""
    literals = Literals.of([check.expression for check in checks])
    most = min(500, int(CROSSED ** (1 / len(sources))))
    tables, names = [], []
    for number, source in enumerate(sources):
        names += list(source.formulas)
        if source.relation:
            query = _relation_values(plan, source, most)
        else:
            query = _column_values(connection, plan, source, literals, most)
        tables.append(f"({query}) AS t{number}")
    alias = plan.spec.alias
    trial = Plan(spec=plan.spec, sources=sources)
    query = statement(
        "scratch/seed_pool",
        cells=", ".join(f"{alias}.{ident(name)}::pg_catalog.text" for name in names),
        more_columns=generated_sql(trial),
        tables=" CROSS JOIN ".join(tables),
        alias=alias,
        condition=condition(checks),
        limit=str(POOL),
    )
    rows = try_query(connection, query)
    if not rows:
        return None
    pool = {name: _listed([row[n] for row in rows]) for n, name in enumerate(names)}
    return [ColumnSource(formulas=pool, size=len(rows))]


def _listed(cells: list[object]) -> Formula:
    """Return the formula that picks from a list of texts; each is cast where it is used."""
    listed = ", ".join("NULL" if cell is None else literal(str(cell)) for cell in cells)
    return Formula(f"(ARRAY[{listed}]::pg_catalog.text[])[1 + ({N})::pg_catalog.int4]", len(cells))


def _relation_values(plan: Plan, source: ColumnSource, most: int) -> str:
    """Return the query of the relation's first rows, and of NULLs if the columns allow them."""
    cells = ", ".join(f"p.c{n} AS {ident(name)}" for n, name in enumerate(source.formulas))
    query = f"SELECT {cells} FROM (SELECT * FROM ({source.relation}) AS q LIMIT {most}) AS p"
    if not any(plan.spec.column(name).not_null for name in source.formulas):
        query += f" UNION ALL SELECT {', '.join('NULL' for _ in source.formulas)}"
    return query


def _column_values(connection: Connection, plan: Plan, source: ColumnSource, literals: Literals, most: int) -> str:
    """Return the query of single values that are valid for the column's type, each once."""
    (name,) = source.formulas
    column = plan.spec.column(name)
    type_ = column.type.formatted
    queries = [f"SELECT (({value})::{type_})::pg_catalog.text" for value in single_values(column, literals)]
    rows = try_query(connection, " UNION ALL ".join(queries))
    if rows is None:  # some value is not valid, so each is tried separately
        rows = [row for query in queries for row in try_query(connection, query) or []]
    texts = list(dict.fromkeys(None if row[0] is None else str(row[0]) for row in rows))[:most]
    array = f"ARRAY[{', '.join(map(literal, texts))}]::pg_catalog.text[]"
    return f"SELECT value::{type_} AS {ident(name)} FROM pg_catalog.unnest({array}) AS value"
