"""Wait for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import Any

#: seconds to wait for a condition; only a failing test waits this long
PATIENCE = 300.0


def wait_for(question: Callable[[], Any], *, seconds: float = PATIENCE, every: float = 0.02) -> Any:
    """Return the first true answer.

    Raises:
        AssertionError: there was none within *seconds*.
    """
    until = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < until, f"it did not happen within {seconds:.0f} s"
        time.sleep(every)
    return answer
