"""Work on many tables in turn: one that is blocked is set aside until the others are done."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from dupe_audit.errors import Blocked
from dupe_audit.findings import quantity
from dupe_audit.model import milliseconds
from dupe_audit.postgres.patience import Patience

log = logging.getLogger("alembic.dupe_audit")

T = TypeVar("T")

#: milliseconds that one table may be blocked while others wait for their turn
TURN = 2_000

#: blocked tables that an error names
SHOWN = 10


class Turns(Generic[T]):
    """Yields each table, and again each one that was blocked, until all are done. The caller works inside ``turn``.

    Args:
        tables: what is worked on.
        give_up_after: total wait while every table that is left is blocked, as PostgreSQL writes durations.
        name: returns the name of a table.
    """

    def __init__(self, tables: Iterable[T], give_up_after: str, name: Callable[[T], str]) -> None:
        self._left = list(tables)
        self._name, self._whole = name, give_up_after
        self._blocked: list[tuple[T, Blocked]] = []
        self.round = 0  #: how often all tables that were left have had a turn
        self._patience = Patience(give_up_after, pause=0.2, growth=1.6, jitter=True)

    @property
    def is_last(self) -> bool:
        """Whether only one table is left, so that its turn may take the whole wait."""
        return len(self._left) == 1

    @property
    def give_up_after(self) -> str:
        """How long the table whose turn it is may be blocked, as PostgreSQL writes durations."""
        return self._whole if self.is_last else f"{min(TURN, milliseconds(self._whole))}ms"

    def __iter__(self) -> Iterator[T]:
        """Yield the tables.

        Raises:
            Blocked: those that are left were blocked for the whole wait; the message names them.
        """
        while self._left:
            before, self._blocked = len(self._left), []
            yield from self._left
            self._left = [table for table, _ in self._blocked]
            if not self.round or len(self._left) < before:
                self._patience.restart()
            elif self._patience.nearly_exhausted:
                raise self._account()
            self.round += 1
            if self._left:
                self._patience.pause()

    @contextmanager
    def turn(self, table: T) -> Iterator[None]:
        """Set the table aside if the block ends because it is blocked.

        Raises:
            Blocked: it was blocked for the whole wait.
        """
        began = time.monotonic()
        try:
            yield
        except Blocked as error:
            if self.is_last or 1000 * (time.monotonic() - began) >= milliseconds(self._whole) > TURN:
                if (name := self._name(table)) not in str(error):
                    error.args = (f"{name}: {error}",)
                raise
            log.info("%s is set aside until the others are done: %s", self._name(table), error)
            self._blocked.append((table, error))

    def _account(self) -> Blocked:
        lines = [f"  {self._name(table)}: {error}" for table, error in self._blocked[:SHOWN]]
        more = len(self._blocked) - SHOWN
        lines += [f"  … and {more:,} more"] if more > 0 else []
        return Blocked(
            f"{quantity(len(self._blocked), 'partition')} stayed blocked for {self._whole}; the others are done. Run "
            "the same command again: it continues where it stopped.\n" + "\n".join(lines)
        )
