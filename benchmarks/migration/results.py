"""What was measured, and the file that keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

Seconds = dict[str, float]


class BenchmarkError(Exception):
    """The figures would mean nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """One way, executed once under traffic.

    ``wall``, ``steps`` and ``statements`` are in seconds, ``waits`` in milliseconds by the profile of the writer, and
    ``wal``, ``temp`` and ``memory`` in bytes. ``wal`` includes that of the writers. ``rejected`` counts writes that the
    finished index rejected.
    """

    way: str
    repetition: int
    wall: float
    steps: Seconds
    statements: Seconds
    waits: dict[str, list[float]]
    wal: int
    temp: int
    memory: int
    rejected: int = 0

    def longest(self, *profiles: str) -> float:
        """Return the longest wait, in milliseconds, of the writers of these profiles; of all without a profile."""
        return max((wait for name in profiles or self.waits for wait in self.waits[name]), default=0.0)


@dataclass(frozen=True, slots=True)
class Size:
    """Everything that was measured on tables of one size; each item of ``queries`` and ``restores`` is a repetition."""

    rows: int
    extras: int
    runs: list[Run] = field(default_factory=list)
    queries: list[Seconds] = field(default_factory=list)
    restores: list[Seconds] = field(default_factory=list)

    def repetitions(self) -> list[dict[str, Run]]:
        """Return the runs of each repetition by way."""
        numbers = sorted({run.repetition for run in self.runs})
        return [{run.way: run for run in self.runs if run.repetition == number} for number in numbers]

    def joined(self, other: Size) -> Size:
        """Return this size with the repetitions of another set after its own."""
        offset = 1 + max((run.repetition for run in self.runs), default=-1)
        later = [replace(run, repetition=run.repetition + offset) for run in other.runs]
        runs, queries, restores = self.runs + later, self.queries + other.queries, self.restores + other.restores
        return replace(self, runs=runs, queries=queries, restores=restores)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how it was measured; results of different machines are never joined."""

    software: str
    server: str
    cores: int
    fsync: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Results:
    """One set, or several of the same machine; ``load`` is the highest load average before a set."""

    machine: Machine
    date: str
    load: float
    sizes: list[Size]

    def save(self, path: Path) -> None:
        """Write the results as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n")


def load(path: Path) -> Results:
    """Read what ``save`` wrote."""
    content: dict[str, Any] = json.loads(path.read_text())
    sizes = [Size(**{**size, "runs": [Run(**run) for run in size["runs"]]}) for size in content.pop("sizes")]
    return Results(**{**content, "machine": Machine(**content["machine"]), "sizes": sizes})


def join(sets: list[Results]) -> Results:
    """Return several sets as one; the repetitions of a size follow one another.

    Raises:
        BenchmarkError: they are from different machines, versions or seeds.
    """
    first = sets[0]
    sizes: dict[int, Size] = {}
    for results in sets:
        if results.machine != first.machine:
            raise BenchmarkError(f"The sets cannot be compared: {first.machine} and {results.machine}")
        for size in results.sizes:
            sizes[size.rows] = sizes[size.rows].joined(size) if size.rows in sizes else size
    dates = sorted({results.date for results in sets})
    highest = max(results.load for results in sets)
    return Results(first.machine, " and ".join(dates), highest, [sizes[rows] for rows in sorted(sizes)])
