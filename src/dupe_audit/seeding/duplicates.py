"""Which rows become duplicates under a key to come, what they share, and what they may not share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from dupe_audit.schema.facts import Index
from dupe_audit.seeding.plan import Copying, Plan, Source
from dupe_audit.seeding.spec import Key

Shape = Literal["exact", "divergent", "null", "referenced"]
ALL: frozenset[Shape] = frozenset({"exact", "divergent", "null", "referenced"})

NULL_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are inserted together: query of n, k and d, and one way after the other to make them."""

    shape: Shape
    rows: str
    ways: tuple[Copying, ...]  #: the first that the server accepts


class Chooser:
    """Chooses numbers of rows, the same for the same seed, and none twice."""

    def __init__(self, seed: int, table: str, first: int, total: int) -> None:
        numbers = range(first, first + total)
        self._total = total
        # A number in the middle of the table is as good a duplicate as any; its secrecy is no matter.
        self._left = Random(f"{seed} {table}").sample(numbers, total)  # noqa: S311
        self.taken: list[int] = []

    def take(self, count: int) -> list[int]:
        """Return so many numbers that nobody has; fewer where they run out."""
        some = [self._left.pop() for _ in range(min(count, len(self._left)))]
        self.taken += some
        return some

    def groups(self, kinds: int) -> list[list[int]]:
        """Return groups with about one row in a hundred, a group of three among them where there is room."""
        room = self._total // (2 * max(kinds, 1))
        affected = max(min(5, room), self._total // 100)
        sizes = [3] * (affected >= 3) + [2] * ((affected - 3 if affected >= 3 else affected) // 2)
        return [numbers for size in sizes if len(numbers := sorted(self.take(size))) == size]

    def nulls(self) -> list[int]:
        """Return the numbers of rows with a NULL in the key, an even number of them."""
        return sorted(self.take(min(NULL_ROWS, max(2, self._total // 10)) // 2 * 2))


def batches(
    plan: Plan, index: Index, others: Sequence[Key], shapes: frozenset[Shape], chooser: Chooser, kinds: int
) -> Iterator[Batch]:
    """Yield the duplicates and the rows with NULLs that the key to come shall meet; nothing where none are possible."""
    used = plan.spec.written(index.uses)
    if not all(plan.has(name) for name in used):
        return
    fresh = _fresh(plan, used, others)
    if fresh is not None:
        left_out = {c.name for c in plan.spec.columns if c.generated is None and not plan.has(c.name)}
        forced = bool((fresh | left_out) - plan.spec.primary)
        if "exact" in shapes and not forced:
            yield Batch(shape="exact", rows=_rows(chooser.groups(kinds)), ways=(Copying(fresh=fresh),))
        if "divergent" in shapes:
            ways = [Copying(fresh=fresh)] if forced else _divergences(plan, used, fresh)
            if ways:
                yield Batch(shape="divergent", rows=_rows(chooser.groups(kinds)), ways=tuple(ways))
    nullable = [name for name in _key_columns(index) if not plan.spec.column(name).not_null and plan.has(name)]
    if "null" in shapes and nullable:
        numbers = chooser.nulls()
        # Equal but for the NULL: no duplicates, unless NULLs are not distinct.
        groups = [[n] for n in numbers] if fresh is None else [numbers[at : at + 2] for at in range(0, len(numbers), 2)]
        ways = [Copying(fresh=fresh or frozenset(), null=name) for name in nullable]
        yield Batch(shape="null", rows=_rows(groups), ways=tuple(ways))


def _key_columns(index: Index) -> tuple[str, ...]:
    return tuple(name for name in index.columns if name is not None) or index.uses


def _rows(groups: Sequence[Sequence[int]]) -> str:
    rows = [f"({n}, {group[0]}, {int(n != group[0])})" for group in groups for n in group]
    cast = "SELECT v.n::pg_catalog.int8 AS n, v.k::pg_catalog.int8 AS k, v.d FROM"
    return f"{cast} (VALUES {', '.join(rows)}) AS v (n, k, d)" if rows else ""


def _fresh(plan: Plan, used: Sequence[str], others: Sequence[Key]) -> frozenset[str] | None:
    """Return the columns that need a value of their own so that other keys hold; None where nothing helps."""
    copied = {name for source in plan.of(used) for name in source.values}
    fresh: set[str] = set()
    for key in others:
        if any(not plan.has(name) for name in key.columns):
            continue  # numbered by the server
        free = [source for source in plan.of(key.columns) if not copied & source.values.keys()]
        if not free:
            return None
        endless = [source for source in free if source.size is None]
        if any(fresh & source.values.keys() for source in endless):
            continue
        chosen: list[Source] = endless[:1] or free
        fresh |= {name for source in chosen for name in source.values}
    return frozenset(fresh)


def _divergences(plan: Plan, used: Sequence[str], fresh: frozenset[str]) -> list[Copying]:
    """Return one way for each column that can carry other data; those with most to choose from first."""
    kept = {name for source in plan.of(used) for name in source.values} | fresh | plan.spec.primary
    free = [source for source in plan.sources if not kept & source.values.keys() and source.size != 1]
    free.sort(key=lambda source: (source.relation is not None, source.size is not None))
    return [Copying(fresh=fresh, divergent=frozenset(source.values)) for source in free]
