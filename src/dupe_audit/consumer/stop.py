"""SIGTERM and SIGINT: finish the batch at hand, or abandon it when that takes too long."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Abandoned(KeyboardInterrupt):
    """The batch at hand took too long after a signal; nothing of it is committed.

    A KeyboardInterrupt, because psycopg cancels the statement at hand for one.
    """


class Stop:
    """What signals asked for."""

    def __init__(self, grace: float) -> None:
        self._grace = grace  #: seconds
        self._deadline = 0.0
        self._breakable = False
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def overdue(self) -> bool:
        """True where the batch at hand is to be abandoned."""
        return self.signal is not None and time.monotonic() >= self._deadline

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Run what may be broken off in the middle.

        Raises:
            Abandoned: it was.
        """
        if self.overdue:
            raise Abandoned
        self._breakable = True
        try:
            yield
        finally:
            self._breakable = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals, and put back afterwards who heard them before."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread hears signals
            return
        handlers = {signal.SIGINT: self._hear, signal.SIGTERM: self._hear, signal.SIGALRM: self._late}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def asked(self, number: int) -> None:
        """Note a signal; a second one abandons the batch at hand at once."""
        again, self.signal = self.signal is not None, self.signal or number
        self._deadline = 0.0 if again else time.monotonic() + self._grace

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        again = self.signal is not None
        self.asked(number)
        signal.setitimer(signal.ITIMER_REAL, 0.001 if again else self._grace)

    def _late(self, _number: int, _frame: FrameType | None) -> None:
        if self._breakable:
            self._breakable = False
            raise Abandoned
