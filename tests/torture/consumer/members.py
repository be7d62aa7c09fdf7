"""The consumers: real processes of one group, which are started, killed, stopped and restarted."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

from torture.consumer.events import CONFIDENTIAL
from torture.consumer.invariants import DISCREET, UNCAUSED
from torture.consumer.scene import Scene
from torture.invariants import Objection

#: how the consumer is started, and how a mutant is
REAL = ("-m", "dupe_audit.cli", "consume")


class Member:
    """A member of the group: a process, and after its end the next one."""

    def __init__(self, scene: Scene, number: int, program: Sequence[str]) -> None:
        self.log = scene.directory / f"member-{number}.log"
        self._command = [sys.executable, *program, str(scene.config)]
        self._environment = {**scene.environment(), "DUPE_AUDIT_TRACEBACK": "1"}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self._began = log.tell()  #: where this process's part of the log begins
            # Its own session, so that Ctrl-C reaches it only through us.
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start the next process if there is none."""
        if self.process.poll() is not None:
            self.process = self._start()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the process, even if it is stopped."""
        self.process.kill()
        self.process.wait()

    def ready(self, patience: float) -> bool:
        """Wait until the process handles signals, which it does only after its imports; return whether it does."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.process.poll() is None:
            with self.log.open("rb") as log:
                log.seek(self._began)
                if b'"started"' in log.read():
                    return True
            time.sleep(0.02)
        return False

    def wait(self, patience: float) -> int | None:
        """Return the exit code, or None if it did not end in time."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-3:])


class Members:
    """A context manager that leaves no process behind."""

    def __init__(self, scene: Scene, count: int, program: Sequence[str] = REAL) -> None:
        self.all = [Member(scene, number, program) for number in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.all:
            member.kill()

    def look_after(self) -> list[Objection]:
        """Restart members that have ended; none has a reason to."""
        ended = []
        for member in self.all:
            code = member.process.poll()
            if code is not None:
                ended.append(Objection(UNCAUSED, f"a consumer ended with {code}: {member.last_words()}"))
                member.start()
        return ended

    def stop(self, patience: float = 120) -> list[Objection]:
        """Stop all members as a deployment does; each has to end well."""
        for member in self.all:
            member.ready(patience)
            member.signal(signal.SIGTERM)
        failed, deadline = [], time.monotonic() + patience
        for member in self.all:
            code = member.wait(max(0.1, deadline - time.monotonic()))
            if code != 0:
                failed.append(Objection(UNCAUSED, f"SIGTERM ended a consumer with {code}: {member.last_words()}"))
        return failed

    def logged(self) -> tuple[Counter[str], list[Objection]]:
        """Return how often each event was logged, and the lines that no log may have."""
        events: Counter[str] = Counter()
        indiscreet = []
        for member in self.all:
            lines = member.log.read_text(errors="replace").splitlines()
            for line in lines:
                if "Traceback" in line or CONFIDENTIAL in line:
                    indiscreet.append(Objection(DISCREET, f"a log says: {line[:300]}"))
                events[_event(line)] += 1
        return events, indiscreet


def _event(line: str) -> str:
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return "not JSON"
