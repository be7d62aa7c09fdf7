"""How many rows the next batch may take, so that no row of the application is locked for long."""

from __future__ import annotations

from dataclasses import dataclass, field

#: seconds that a batch should hold its locks
TARGET = 0.2

#: rows of a run's first batch, when nothing is known yet: a foreign key without an index may cost a scan per row
FIRST = 4

#: how many times larger than the last batch the next one may be
GROWTH = 8

#: part of the target that a prediction aims at, because rows differ
MARGIN = 0.8

#: part of a new measurement in the average of its size, because times vary
WEIGHT = 0.4

#: a time this many times longer or shorter than the average is no variation: everything before it is forgotten
CHANGE = 4

#: part of an average that remains each time when it keeps the size from growing
FADING = 0.95

#: part by which the time must depend on the rows for their number to matter
SHARE = 0.4

#: bytes of rows in a batch, unless a single row has more: 5,000 rows of 200 kB took 20 s (measured)
MOST_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Pace:
    """The size of the next batch: small at first, then what fits into the target; the offline script computes the same.

    Part of a batch's time does not depend on its rows: a distant client or standby, a trigger that fires once per
    statement, a busy machine. Smaller batches would not shorten it, so averages of different sizes are compared.

    Args:
        most: rows that a batch may take at all.
    """

    most: int
    size: int = field(init=False)  #: rows that the next batch may take, their children among them
    #: rows and average seconds of batches, by the rows' power of two
    averages: dict[int, tuple[int, float]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.size = min(self.most, FIRST)

    def measure(self, rows: int, seconds: float) -> None:
        """Adapt to a batch: shrink at once if its rows took too long, grow if more would have fitted."""
        if rows < self.size / 2 and seconds <= TARGET:
            return  # the few rows at the end of a pass
        seconds, level = max(seconds, 0.001), rows.bit_length()
        _, average = self.averages.get(level, (rows, seconds))
        if not average / CHANGE <= seconds <= average * CHANGE:
            self.averages.clear()
            average = seconds
        average += WEIGHT * (seconds - average)
        self.averages[level] = rows, average
        self.size = max(1, min(self.most, self._next(level, rows, average)))

    def _next(self, level: int, rows: int, seconds: float) -> int:
        below = max((size for size in self.averages if size < level), default=None)
        above = min((size for size in self.averages if size > level), default=None)
        fewer_help = below is not None and self.averages[below][1] < seconds * (1 - SHARE / 2)
        more_hurt = False
        if above is not None:
            more, average = self.averages[above]
            more_hurt = average > seconds * (1 + SHARE * (more / rows - 1))
        fitting = int(rows * min(GROWTH, MARGIN * TARGET / seconds))
        if fitting >= 2 * rows:
            return fitting
        if below is None and rows > 1:
            return min(rows // 2, max(1, fitting))  # also to see whether fewer rows are faster at all
        if fewer_help and seconds > TARGET:
            return rows // 2
        if fewer_help or seconds - min(average for _, average in self.averages.values()) > TARGET / 2:
            return rows
        if more_hurt and above is not None:
            more, average = self.averages[above]
            self.averages[above] = more, average * FADING  # perhaps it was an exception
            return rows
        return 2 * rows

    def halve(self, rows: int) -> None:
        """Try half of a batch that failed."""
        self.size = max(1, rows // 2)
