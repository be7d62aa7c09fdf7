"""Ctrl-C and SIGTERM: a cancelled statement and an orderly end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from sqlalchemy import Connection

from dupe_audit.errors import Interrupted


class Interrupt:
    """Ctrl-C or SIGTERM that arrived, and whether a statement runs that has to be cancelled for it."""

    signal: int | None = None
    busy: bool = False

    def check(self, cause: BaseException | None = None) -> None:
        """Raise, if a signal arrived.

        Raises:
            Interrupted: the user stopped the work.
        """
        if self.signal is not None:
            self.signal = None
            raise Interrupted(
                "Interrupted. What is committed is safe; run the same command again and it continues where it stopped."
            ) from cause


#: of this process: signals belong to a process, not to a connection
interrupt = Interrupt()


def rest(seconds: float) -> None:
    """Sleep outside any transaction, and wake up for an interrupt.

    Raises:
        Interrupted: the user stopped the work.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        interrupt.check()
        time.sleep(min(left, 0.2))


@contextmanager
def interruptible(connection: Connection) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a cancelled statement and an orderly end.

    A KeyboardInterrupt inside the driver would cost the connection, and with it the chance to remove an
    unfinished index, which goes on rejecting the application's writes (H48).
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    driver = connection.connection.driver_connection
    cancel = getattr(driver, "cancel_safe", None) or getattr(driver, "cancel", None)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        interrupt.signal = number
        if interrupt.busy and cancel:
            with suppress(Exception):  # a lost connection has nothing left to cancel
                cancel()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
        interrupt.check()  # one that came too late for any statement
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
