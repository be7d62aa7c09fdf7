"""Compute what the tables and the pictures show: medians, ratios within a repetition, percentiles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from migration.queries import PREFLIGHT, WITH_INDEXES
from migration.results import Run, Seconds, Size

WAYS = {"a": "(a) original", "b": "(b) by hand", "b*": "(b*) by hand, best form", "c": "(c) this"}
#: in the order in which they follow one another
STEPS = {
    "delete": "find and delete the extras",
    "rank": "rank the table, once",
    "lock": "lock extras and survivors",
    "move": "judge, delete and archive extras",
    "build": "build the index",
    "attach": "adopt the index as a constraint",
    "proof": "recount without an index, as the proof",
    "counts": "count rows, measure keys",
    "commit": "commit",
    "other": "everything else, including the client",
}


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, and the smallest and the largest."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """Return the spread of at least one figure."""
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1])


def ways_of(size: Size) -> list[str]:
    """Return the measured ways in their usual order."""
    return [way for way in WAYS if any(run.way == way for run in size.runs)]


def runs_of(size: Size, way: str) -> list[Run]:
    """Return the runs of one way."""
    return [run for run in size.runs if run.way == way]


def ratios(size: Size, way: str, other: str, figure: Callable[[Run], float]) -> Spread | None:
    """Return the spread of one way's figure divided by another's of the same repetition, or None without a pair."""
    pairs = [(runs[way], runs[other]) for runs in size.repetitions() if way in runs and other in runs]
    quotients = [figure(first) / figure(second) for first, second in pairs if figure(second)]
    return spread(quotients) if quotients else None


def waits_of(size: Size, way: str) -> list[float]:
    """Return the milliseconds of all writes during all runs of one way, in ascending order."""
    return sorted(wait for run in runs_of(size, way) for waits in run.waits.values() for wait in waits)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of some figures that at least this share of them does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def typical(size: Size, way: str) -> Run:
    """Return the run with the median wall time, whose steps add up to it; of an even number, the shorter one."""
    runs = sorted(runs_of(size, way), key=lambda run: run.wall)
    return runs[(len(runs) - 1) // 2]


def fastest_query(queries: Sequence[Seconds]) -> str:
    """Return the name of the bare query with the smallest median, of those that use no index."""
    names = [name for name in queries[0] if name not in {PREFLIGHT, WITH_INDEXES}]
    return min(names, key=lambda name: statistics.median(repetition[name] for repetition in queries))
