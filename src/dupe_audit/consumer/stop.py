"""SIGTERM and SIGINT: finish the current batch, or abandon it if that takes too long."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Abandoned(KeyboardInterrupt):
    """The current batch took too long after a signal; nothing of it is committed.

    A KeyboardInterrupt, because on one psycopg cancels the statement that is executing.
    """


class Stop:
    """Whether the process has to stop, and how soon.

    Args:
        grace: seconds that the current batch may still take after a signal.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._deadline = 0.0
        self._interruptible = False
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def overdue(self) -> bool:
        """True if the current batch has to be abandoned."""
        return self.signal is not None and time.monotonic() >= self._deadline

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Allow a signal to interrupt the block anywhere.

        Raises:
            Abandoned: a signal did, or it is too late to begin.
        """
        if self.overdue:
            raise Abandoned
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle SIGINT, SIGTERM and SIGALRM inside the block; restore the previous handlers afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread receives signals
            return
        handlers = {signal.SIGINT: self._on_signal, signal.SIGTERM: self._on_signal, signal.SIGALRM: self._on_alarm}
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def request(self, number: int) -> None:
        """Record a signal; the second one abandons the current batch at once."""
        repeated, self.signal = self.signal is not None, self.signal or number
        self._deadline = 0.0 if repeated else time.monotonic() + self._grace

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        repeated = self.signal is not None
        self.request(number)
        signal.setitimer(signal.ITIMER_REAL, 0.001 if repeated else self._grace)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._interruptible:
            self._interruptible = False
            raise Abandoned
