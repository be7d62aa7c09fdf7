"""Start programs that can be killed: the harness's end of the pipe to ``torture.programs``."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from torture.policies import ARCHIVE

#: the nursery's line about a child that has been stopped
FROZEN = "frozen\n"


class Nursery:
    """A context manager that leaves no process behind; one child at a time."""

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="dupe-audit-torture-")
        self.log = Path(self._directory.name) / "log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torture.programs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._child: Child | None = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.terminate()
        self._process.wait()
        self._reader.join(timeout=10)
        if self._process.stdout:
            self._process.stdout.close()
        self._directory.cleanup()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)

    def start(
        self,
        program: str,
        url: str,
        application_name: str,
        direction: str = "up",
        freeze: tuple[str, int] | None = None,
        *,
        partial: bool = False,
        policy: str = ARCHIVE,
        tree: bool = False,
    ) -> "Child":
        """Start a program; with *freeze* it stops itself after a statement: its phase, and its number in the phase.

        Args:
            partial: whether Alembic goes to the revision of the partial key.
            policy: what that revision makes of the extras.
            tree: whether the table is partitioned.
        """
        order = {"program": program, "url": url, "application_name": application_name, "log": str(self.log)}
        order |= {"direction": direction, "freeze": freeze, "partial": partial, "policy": policy, "tree": tree}
        if self._child and self._child.wait(0) is None:  # of a test that has failed
            self._child.kill()
            self._child.wait(120)
        if self._process.stdin:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        self._child = Child(int(self._lines.get(timeout=120)), self._lines)
        return self._child

    def last_words(self) -> str:
        """Return the end of the last child's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-4:])


class Child:
    """A running program."""

    def __init__(self, pid: int, lines: "queue.Queue[str]") -> None:
        self.pid = pid
        self.code: int | None = None
        self.frozen = False  #: it has stopped itself, and waits for ``thaw``
        self._lines = lines

    def wait(self, timeout: float) -> int | None:
        """Return the exit code (negative: the signal), or None if the child still runs after *timeout* seconds."""
        if self.code is None:
            try:
                line = self._lines.get(timeout=timeout) if timeout else self._lines.get_nowait()
            except queue.Empty:
                return None
            if line == FROZEN:
                self.frozen = True
                return None
            self.code = int(line)
        return self.code

    def thaw(self) -> None:
        """Let a frozen child continue."""
        self.frozen = False
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill it with SIGKILL, which its backend may not notice."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
