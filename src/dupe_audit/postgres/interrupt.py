"""Ctrl-C and SIGTERM: a cancelled statement and an orderly end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from sqlalchemy import Connection

from dupe_audit.errors import Interrupted

MESSAGE = "Interrupted. Committed work is safe. Run the same command again: it continues where it stopped."

Handler = Callable[[int, FrameType | None], None]


class Interrupt:
    """A Ctrl-C or SIGTERM that arrived, and whether a statement is executing that it has to cancel."""

    signal: int | None = None
    busy: bool = False

    def check(self, cause: BaseException | None = None, *, message: str = MESSAGE) -> None:
        """Raise an error if a signal arrived.

        Raises:
            Interrupted: the user stopped the work.
        """
        if self.signal is not None:
            self.signal = None
            raise Interrupted(message) from cause


#: one for the process, because signals belong to a process and not to a connection
interrupt = Interrupt()


def sleep(seconds: float) -> None:
    """Sleep outside any transaction; wake up for an interrupt.

    Raises:
        Interrupted: the user stopped the work.
    """
    deadline = time.monotonic() + seconds
    while (remaining := deadline - time.monotonic()) > 0:
        interrupt.check()
        time.sleep(min(remaining, 0.2))


@contextmanager
def interruptible(connection: Connection) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a cancelled statement and an orderly end.

    A KeyboardInterrupt inside the driver would cost the connection, and with it the chance to drop an
    unfinished index, which keeps rejecting the application's writes (H48).
    """
    driver = connection.connection.driver_connection
    cancel = getattr(driver, "cancel_safe", None) or getattr(driver, "cancel", None)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        interrupt.signal = number
        if interrupt.busy and cancel:
            with suppress(Exception):  # a lost connection has nothing to cancel
                cancel()

    with signal_handler(on_signal):
        yield
        interrupt.check()  # a signal that came too late for any statement


@contextmanager
def interruptible_at_once() -> Iterator[None]:
    """Raise a KeyboardInterrupt on Ctrl-C or SIGTERM, and record it, while the user is asked and no statement executes.

    Raises:
        KeyboardInterrupt: a signal arrived, perhaps before the block.
    """

    def on_signal(number: int, _frame: FrameType | None) -> None:
        interrupt.signal = number
        raise KeyboardInterrupt

    with signal_handler(on_signal):
        if interrupt.signal is not None:
            raise KeyboardInterrupt
        yield


@contextmanager
def signal_handler(handler: Handler, *numbers: int) -> Iterator[None]:
    """Handle signals, by default SIGINT and SIGTERM, inside the block; restore the previous handlers afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    before = {number: signal.signal(number, handler) for number in numbers or (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
