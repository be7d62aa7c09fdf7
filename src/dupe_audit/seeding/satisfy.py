"""Make the sources of a plan satisfy its checks: try ways to make values, and let the server judge them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.seeding.candidates import Literals, families, singles
from dupe_audit.seeding.plan import NULL, Plan, Source, numbers, visible
from dupe_audit.seeding.spec import Check
from dupe_audit.seeding.values import HOLE, Values
from dupe_audit.statements import ident, literal

TRIES = 400  #: combinations of families
POOL = 400  #: combinations of single values that are kept
CROSSED = 20_000  #: combinations of single values that are judged


class CannotFill(DupeAuditError):
    """A table cannot be filled with generated rows; the message says which column, type or constraint is why."""


def ask(connection: Connection, query: str) -> list[tuple[object, ...]] | None:
    """Return the rows of a query that may fail, None if it did; the transaction goes on."""
    execute(connection, "SAVEPOINT dupe_audit_ask")
    try:
        rows = [tuple(row) for row in execute(connection, query)]
    except DBAPIError:
        tidy(connection, "ROLLBACK TO SAVEPOINT dupe_audit_ask")
        rows = None
    execute(connection, "RELEASE SAVEPOINT dupe_audit_ask")
    return rows


def satisfy(connection: Connection, plan: Plan, checks: Sequence[Check], first: int, count: int) -> None:
    """Change the plan's sources until so many rows, from that number on, meet the checks.

    Raises:
        CannotFill: nothing that was tried meets them.
    """
    for sources, asked in _together(plan, checks):
        if _holds(connection, plan, sources, asked, first, count):
            plan.linked.append(sources)
            continue
        before = sources[:]
        for source in sources:
            source.sprinkle = False
        found = _by_family(connection, plan, sources, asked, first, count) or _by_pool(connection, plan, sources, asked)
        if found is None:
            names = ", ".join(sorted({check.name for check in asked}))
            columns = ", ".join(dict.fromkeys(name for source in sources for name in source.values))
            raise CannotFill(f"{plan.spec.title}: no generated value of {columns} satisfies {names}.")
        plan.sources = [one for one in plan.sources if all(one is not other for other in before)] + found
        plan.linked.append(found)


def _together(plan: Plan, checks: Sequence[Check]) -> Iterator[tuple[list[Source], list[Check]]]:
    """Yield the sources that have to be looked at together, with their checks."""
    groups: list[tuple[list[Source], list[Check]]] = []
    for check in checks:
        if not check.columns or not all(plan.has(name) for name in check.columns):
            continue  # what is not written is the server's to judge
        sources, asked = plan.of(check.columns), [check]
        for group in [one for one in groups if any(a is b for a in one[0] for b in sources)]:
            groups.remove(group)
            sources = group[0] + [one for one in sources if all(one is not other for other in group[0])]
            asked = group[1] + asked
        groups.append((sources, asked))
    yield from groups


def _condition(checks: Sequence[Check]) -> str:
    return " AND ".join(f"(({one.expression}) IS {'TRUE' if one.strict else 'NOT FALSE'})" for one in checks)


def _holds(
    connection: Connection,
    plan: Plan,
    sources: list[Source],
    checks: Sequence[Check],
    first: int,
    count: int,
) -> bool:
    """Return whether the checks hold for all rows, and whether what shall never run out is different in each."""
    if count < 1:
        return True
    trial = Plan(spec=plan.spec, sources=sources)
    every = numbers(first, count)
    few = f"SELECT * FROM ({every}) AS s WHERE n - {first} IN (0, 1, 2, 10, {count // 2}, {count - 1})"
    endless = [ident(name) for one in sources if one.size is None for name in one.values]
    different = [f"pg_catalog.count(DISTINCT {name}::pg_catalog.text) = pg_catalog.count({name})" for name in endless]
    judge = " AND ".join([f"pg_catalog.bool_and({_condition(checks)})", *different])
    for rows in (few, every):  # the few are cheap, and most tries end there
        judged = ask(connection, f"SELECT {judge} FROM {visible(trial, rows)}")
        if not judged or judged[0][0] is not True:
            return False
    return True


def _ways(plan: Plan, source: Source, literals: Literals) -> list[Source]:
    if source.relation is None and len(source.values) == 1:
        (name,) = source.values
        return [Source.single(name, values) for values in families(plan.spec.column(name), literals)]
    nothing = Source(values=dict.fromkeys(source.values, NULL), size=1)
    return [source] + [nothing] * (not any(plan.spec.column(name).not_null for name in source.values))


def _by_family(
    connection: Connection, plan: Plan, sources: list[Source], checks: Sequence[Check], first: int, count: int
) -> list[Source] | None:
    """Return sources in the place of these that never run out of values, the first combination that holds."""
    literals = Literals.of([check.expression for check in checks])
    ways = [_ways(plan, source, literals) for source in sources]
    for chosen in islice(_by_rank(ways), TRIES):
        if _holds(connection, plan, chosen, checks, first, count):
            return chosen
    return None


def _by_rank(ways: list[list[Source]]) -> Iterator[list[Source]]:
    """Yield the combinations of ways, those first that stay nearest to the beginnings."""
    for total in range(sum(len(way) - 1 for way in ways) + 1):
        ranges = [range(min(total, len(way) - 1) + 1) for way in ways[:-1]]
        for ranks in product(*ranges):
            last = total - sum(ranks)
            if 0 <= last < len(ways[-1]):
                yield [way[rank] for way, rank in zip(ways, (*ranks, last), strict=True)]


def _by_pool(connection: Connection, plan: Plan, sources: list[Source], checks: Sequence[Check]) -> list[Source] | None:
    """Return one source in the place of these: the combinations of single values that the server accepts."""
    literals = Literals.of([check.expression for check in checks])
    most = min(500, int(CROSSED ** (1 / len(sources))))
    tables, names = [], []
    for number, source in enumerate(sources):
        listed = [ident(name) for name in source.values]
        names += list(source.values)
        if source.relation:
            cells = ", ".join(f"p.c{n} AS {name}" for n, name in enumerate(listed))
            query = f"SELECT {cells} FROM (SELECT * FROM ({source.relation}) AS q LIMIT {most}) AS p"
            if not any(plan.spec.column(name).not_null for name in source.values):
                query += f" UNION ALL SELECT {', '.join('NULL' for _ in listed)}"
        else:
            query = _valid(connection, plan, source, literals, most)
        tables.append(f"({query}) AS t{number}")
    alias = plan.spec.alias
    cells = ", ".join(f"{alias}.{ident(name)}::pg_catalog.text" for name in names)
    trial = Plan(spec=plan.spec, sources=sources)
    made = [c for c in plan.spec.columns if c.generated and all(trial.has(name) for name in c.generated_from)]
    more = "".join(f", ({c.generated}) AS {ident(c.name)}" for c in made)
    rows = ask(
        connection,
        f"SELECT {cells} FROM (SELECT *{more} FROM {' CROSS JOIN '.join(tables)}) AS {alias} "
        f"WHERE {_condition(checks)} LIMIT {POOL}",
    )
    if not rows:
        return None
    return [Source(values={name: _listed([row[n] for row in rows]) for n, name in enumerate(names)}, size=len(rows))]


def _listed(cells: list[object]) -> Values:
    """Return the values of a list of texts, each cast where it is used."""
    listed = ", ".join("NULL" if cell is None else literal(str(cell)) for cell in cells)
    return Values(f"(ARRAY[{listed}]::pg_catalog.text[])[1 + ({HOLE})::pg_catalog.int4]", len(cells))


def _valid(connection: Connection, plan: Plan, source: Source, literals: Literals, most: int) -> str:
    """Return the query of single values that are of the column's type, each once."""
    (name,) = source.values
    column = plan.spec.column(name)
    queries = [f"SELECT (({one})::{column.type.written})::pg_catalog.text" for one in singles(column, literals)]
    found = ask(connection, " UNION ALL ".join(queries))
    if found is None:
        found = [row for query in queries for row in ask(connection, query) or []]
    texts = list(dict.fromkeys(None if row[0] is None else str(row[0]) for row in found))[:most]
    array = f"ARRAY[{', '.join(map(literal, texts))}]::pg_catalog.text[]"
    return f"SELECT value::{column.type.written} AS {ident(name)} FROM pg_catalog.unnest({array}) AS value"
