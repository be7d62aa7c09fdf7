"""Wait within a total limit: pauses grow, and the log reports a wait only every few seconds."""

from __future__ import annotations

import logging
import random
import time

from dupe_audit.model import milliseconds
from dupe_audit.postgres.interrupt import sleep

log = logging.getLogger("alembic.dupe_audit")

#: seconds between two lines about the same work or the same wait
LOG_EVERY = 5.0


class Throttle:
    """Lets a line through at most every *every* seconds; the first one at once, unless *quiet_at_first*."""

    def __init__(self, every: float = LOG_EVERY, *, quiet_at_first: bool = False) -> None:
        self._every = every
        self._next = time.monotonic() + (every if quiet_at_first else 0.0)

    def due(self) -> bool:
        """Return whether a line may be written now; if so, the next one has to wait."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._every
        return True


class Patience:
    """A deadline, a pause that grows between tries, and a log that is throttled.

    Args:
        limit: total wait, as PostgreSQL writes durations: ``10min``.
        pause: seconds before the second try.
        growth: what each pause is multiplied by for the next one.
        longest: seconds that a pause may last.
        jitter: vary each pause by half, so that several clients do not try in step.
    """

    def __init__(
        self, limit: str, *, pause: float, growth: float = 1.0, longest: float = 10.0, jitter: bool = False
    ) -> None:
        self.limit = limit
        self.tries = 0
        self._first_pause, self._growth, self._longest, self._jitter = pause, growth, longest, jitter
        self._throttle = Throttle()
        self.restart()

    def restart(self) -> None:
        """Begin again after progress: the whole limit, and the shortest pause."""
        self._deadline = time.monotonic() + milliseconds(self.limit) / 1000
        self._pause = self._first_pause

    @property
    def exhausted(self) -> bool:
        """Whether the limit is over."""
        return time.monotonic() > self._deadline

    @property
    def nearly_exhausted(self) -> bool:
        """Whether the limit leaves no time for another pause."""
        return time.monotonic() + self._pause > self._deadline

    def pause(self) -> None:
        """Sleep outside any transaction until the next try.

        Raises:
            Interrupted: the user stopped the work.
        """
        self.tries += 1
        sleep(self._pause * (random.uniform(0.5, 1.5) if self._jitter else 1.0))  # noqa: S311 - jitter, not a secret
        self._pause = min(self._pause * self._growth, self._longest)

    def log(self, message: str, *arguments: object) -> None:
        """Log what is waited for, unless a line about it was written moments ago."""
        if self._throttle.due():
            log.info(message, *arguments)
