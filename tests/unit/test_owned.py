"""The brokers and poolers of the tests leave no process behind."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from owned import owned
from waiting import PATIENCE, wait_for

#: prints its pid, and ignores the signals that a terminal or a polite end sends
PROGRAM = "trap '' INT TERM; echo $$; exec sleep 600"

#: waits in turns, because a signal that arrives just before a read is noticed only after it
OWNER = """
import sys, time
from owned import owned
with owned(["/bin/sh", "-c", sys.argv[1]]):
    while True:
        time.sleep(0.1)
"""


def is_gone(pid: int) -> bool:
    """Return whether the process has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_program_ends_with_its_block(tmp_path):
    """At the end of the block the program has ended, although it ignores a polite request."""
    output = tmp_path / "output"
    with output.open("w") as out, owned(["/bin/sh", "-c", PROGRAM], stdout=out):
        pid = int(wait_for(output.read_text))
    assert is_gone(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_program_ends_with_its_owner(number):
    """Ctrl-C and SIGKILL of the process that started it end the program too."""
    command = [sys.executable, "-c", OWNER, PROGRAM]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        owner.send_signal(number)
        assert owner.wait(PATIENCE) != 0
        wait_for(lambda: is_gone(pid))
