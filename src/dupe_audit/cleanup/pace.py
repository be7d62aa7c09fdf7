"""How many rows the next batch may take, so that no row of the application is locked for long."""

from __future__ import annotations

from dataclasses import dataclass, field

#: seconds that a batch should hold its locks
TARGET = 0.2

#: rows of a run's first batch, of which nothing is known yet: a foreign key without an index scans a table per row
FIRST = 4

#: how many times larger than the last batch the next one may be
GROWTH = 8

#: part of the target that a prediction aims at, because rows differ
MARGIN = 0.8

#: bytes of rows in a batch, unless a single row has more: 5,000 rows of 200 kB took 20 s (measured)
MOST_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Pace:
    """The size of the next batch: small at first, then what fits into the target; the offline script computes the same.

    Args:
        most: rows that a batch may take at all.
    """

    most: int
    size: int = field(init=False)  #: rows that the next batch may take, their children among them

    def __post_init__(self) -> None:
        self.size = min(self.most, FIRST)

    def measure(self, rows: int, seconds: float) -> None:
        """Adapt to a batch: shrink at once if it was too slow, grow if far more would have fitted."""
        fitting = int(rows * min(GROWTH, MARGIN * TARGET / max(seconds, 0.001)))
        if seconds > TARGET:
            self.size = max(1, min(self.size, fitting))
        elif fitting > self.size:
            self.size = min(self.most, fitting)

    def halve(self, rows: int) -> None:
        """Try half of a batch that failed."""
        self.size = max(1, rows // 2)
