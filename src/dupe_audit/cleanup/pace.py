"""How many rows the next batch may take, so that no row of the application is locked for long."""

from __future__ import annotations

from dataclasses import dataclass, field

#: seconds that a batch should hold its locks
TARGET = 0.2

#: rows of a run's first batch, when nothing is known yet: a foreign key without an index may cost a scan per row
FIRST = 4

#: how many times larger than the last batch the next one may be
GROWTH = 8

#: the same where most of a batch's time does not depend on its rows, so that a wrong guess costs little
CAREFUL_GROWTH = 2

#: part of the target that a prediction aims at, because rows differ
MARGIN = 0.8

#: bytes of rows in a batch, unless a single row has more: 5,000 rows of 200 kB took 20 s (measured)
MOST_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Pace:
    """The size of the next batch: small at first, then what fits into the target; the offline script computes the same.

    Part of a batch's time does not depend on its rows: a commit that waits for a distant standby, a trigger that fires
    once per statement. It is estimated from two batches of different size; smaller batches would not shorten it.

    Args:
        most: rows that a batch may take at all.
    """

    most: int
    size: int = field(init=False)  #: rows that the next batch may take, their children among them
    fixed: float = field(init=False, default=0.0)  #: seconds that any batch takes
    estimated: bool = field(init=False, default=False)  #: whether two batches have shown it
    last: tuple[int, float] | None = field(init=False, default=None)  #: rows and seconds of the last batch

    def __post_init__(self) -> None:
        self.size = min(self.most, FIRST)

    def measure(self, rows: int, seconds: float) -> None:
        """Adapt to a batch: shrink at once if its rows took too long, grow if more would have fitted."""
        # A batch of fewer rows that took longer says nothing: something else has changed.
        if self.last and self.last[0] != rows and not (rows < self.last[0] and seconds > self.last[1]):
            slope = max((seconds - self.last[1]) / (rows - self.last[0]), 0.0)
            self.fixed, self.estimated = max(seconds - slope * rows, 0.0), True
        self.fixed = min(self.fixed, seconds)
        self.last = rows, seconds
        variable = max(seconds - self.fixed, 0.001)
        budget = max(TARGET - self.fixed, TARGET / 2)
        growth = CAREFUL_GROWTH if self.fixed > TARGET / 2 else GROWTH
        fitting = int(rows * min(growth, MARGIN * budget / variable))
        if variable > budget:
            self.size = max(1, min(self.size, fitting))
        elif fitting > self.size:
            self.size = min(self.most, fitting)
        elif not self.estimated and rows >= self.size:
            self.size = max(1, rows // 2)  # to see whether that is faster at all

    def halve(self, rows: int) -> None:
        """Try half of a batch that failed."""
        self.size = max(1, rows // 2)
