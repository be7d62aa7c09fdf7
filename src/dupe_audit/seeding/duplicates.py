"""Which rows become duplicates under a new key, what they share, and in which columns they have to differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from dupe_audit.schema.facts import Index
from dupe_audit.seeding.plan import ColumnSource, Plan, Variation
from dupe_audit.seeding.spec import KeySpec
from dupe_audit.statements import statement

Shape = Literal["exact", "divergent", "null", "referenced"]
ALL: frozenset[Shape] = frozenset({"exact", "divergent", "null", "referenced"})

NULL_ROWS = 20  #: rows with a NULL in the key, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateBatch:
    """Rows of one shape that are inserted together."""

    shape: Shape
    rows: str  #: a query of n, k and d; empty if there are none
    variations: tuple[Variation, ...]  #: tried in this order until the server accepts one


class RowChooser:
    """Chooses row numbers at random: the same for the same seed, and none twice."""

    def __init__(self, seed: int, table: str, first: int, total: int) -> None:
        numbers = range(first, first + total)
        self._total = total
        # Not cryptography: the choice has to be repeatable, not secret.
        self._available = Random(f"{seed} {table}").sample(numbers, total)  # noqa: S311
        self.taken: list[int] = []

    def take(self, count: int) -> list[int]:
        """Return *count* numbers that nobody has taken; fewer if they run out."""
        numbers = [self._available.pop() for _ in range(min(count, len(self._available)))]
        self.taken += numbers
        return numbers

    def groups(self, kinds: int) -> list[list[int]]:
        """Return groups that hold about one row in a hundred, one of three rows if there is room, else of two.

        *kinds* is how many kinds of groups share the table.
        """
        room = self._total // (2 * max(kinds, 1))
        affected = max(min(5, room), self._total // 100)
        sizes = [3] * (affected >= 3) + [2] * ((affected - 3 if affected >= 3 else affected) // 2)
        return [numbers for size in sizes if len(numbers := sorted(self.take(size))) == size]

    def nulls(self) -> list[int]:
        """Return the numbers of rows with a NULL in the key; their count is even."""
        return sorted(self.take(min(NULL_ROWS, max(2, self._total // 10)) // 2 * 2))


def duplicate_batches(
    plan: Plan, index: Index, other_keys: Sequence[KeySpec], shapes: frozenset[Shape], chooser: RowChooser, kinds: int
) -> Iterator[DuplicateBatch]:
    """Yield the duplicates and the rows with NULL keys under the new *index*; none if none are possible."""
    used = plan.spec.inputs(index.reads)
    if not all(plan.writes(name) for name in used):
        return
    fresh = fresh_columns(plan, used, other_keys)
    if fresh is not None:
        differ = always_differ(plan, fresh)
        if "exact" in shapes and not differ:
            rows = _group_rows(chooser.groups(kinds))
            yield DuplicateBatch(shape="exact", rows=rows, variations=(Variation(fresh=fresh),))
        if "divergent" in shapes:
            variations = [Variation(fresh=fresh)] if differ else divergences(plan, used, fresh)
            if variations:
                rows = _group_rows(chooser.groups(kinds))
                yield DuplicateBatch(shape="divergent", rows=rows, variations=tuple(variations))
    nullable = [name for name in _key_columns(index) if not plan.spec.column(name).not_null and plan.writes(name)]
    if "null" in shapes and nullable:
        numbers = chooser.nulls()
        # Pairs that are equal but for the NULL: duplicates only if NULLs are not distinct.
        groups = [[n] for n in numbers] if fresh is None else [numbers[at : at + 2] for at in range(0, len(numbers), 2)]
        variations = [Variation(fresh=fresh or frozenset(), null=name) for name in nullable]
        yield DuplicateBatch(shape="null", rows=_group_rows(groups), variations=tuple(variations))


def _key_columns(index: Index) -> tuple[str, ...]:
    return tuple(name for name in index.columns if name is not None) or index.reads


def _group_rows(groups: Sequence[Sequence[int]]) -> str:
    rows = [f"({n}, {group[0]}, {int(n != group[0])})" for group in groups for n in group]
    return statement("scratch/seed_groups", rows=", ".join(rows)) if rows else ""


def always_differ(plan: Plan, fresh: frozenset[str]) -> bool:
    """Return whether two rows with their own values in *fresh* columns carry different data in any case."""
    defaulted = {c.name for c in plan.spec.columns if c.generated is None and not plan.writes(c.name)}
    return bool((fresh | defaulted) - plan.spec.primary)


def fresh_columns(plan: Plan, used: Sequence[str], other_keys: Sequence[KeySpec]) -> frozenset[str] | None:
    """Return the columns in which each row needs its own value, so that other keys hold; None if that is impossible."""
    copied = {name for source in plan.sources_of(used) for name in source.formulas}
    fresh: set[str] = set()
    for key in other_keys:
        if any(not plan.writes(name) for name in key.columns):
            continue  # numbered by the server
        free = [source for source in plan.sources_of(key.columns) if not copied & source.formulas.keys()]
        if not free:
            return None
        endless = [source for source in free if source.size is None]
        if any(fresh & source.formulas.keys() for source in endless):
            continue
        chosen: list[ColumnSource] = endless[:1] or free
        fresh |= {name for source in chosen for name in source.formulas}
    return frozenset(fresh)


def divergences(plan: Plan, used: Sequence[str], fresh: frozenset[str]) -> list[Variation]:
    """Return one variation per source that can carry other data; those with most to choose from first."""
    fixed = {name for source in plan.sources_of(used) for name in source.formulas} | fresh | plan.spec.primary
    free = [source for source in plan.sources if not fixed & source.formulas.keys() and source.size != 1]
    free.sort(key=lambda source: (source.relation is not None, source.size is not None))
    return [Variation(fresh=fresh, divergent=frozenset(source.formulas)) for source in free]


def is_within(inner: Index, outer: Index) -> bool:
    """Return whether rows that are equal under the outer key are equal under the inner one too."""
    return set(inner.reads) <= set(outer.reads)
