"""The consumers: real processes of one group, which are started, killed, stopped and looked after."""

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
    """One consumer's place: a process, and after it the next one."""

    def __init__(self, scene: Scene, number: int, program: Sequence[str]) -> None:
        self.log = scene.directory / f"member-{number}.log"
        self._command = [sys.executable, *program, str(scene.config)]
        self._environment = {**scene.environment(), "DUPE_AUDIT_TRACEBACK": "1"}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self._began = log.tell()  #: of this process's part of the log
            # A session of its own, so that Ctrl-C, meant for us, is passed on by us.
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start the next process, where there is none."""
        if self.process.poll() is not None:
            self.process = self._start()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the process as it is, also a stopped one."""
        self.process.kill()
        self.process.wait()

    def ready(self, patience: float) -> bool:
        """Wait until the process hears signals, which a Python that still imports does not."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.process.poll() is None:
            with self.log.open("rb") as log:
                log.seek(self._began)
                if b'"started"' in log.read():
                    return True
            time.sleep(0.02)
        return False

    def wait(self, patience: float) -> int | None:
        """Return the exit code, or None where it did not end in time."""
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
        """Start again who has ended, which none has a reason to."""
        found = []
        for member in self.all:
            code = member.process.poll()
            if code is not None:
                found.append(Objection(UNCAUSED, f"a consumer ended with {code}: {member.last_words()}"))
                member.start()
        return found

    def stop(self, patience: float = 20) -> list[Objection]:
        """End them all as a deployment does; each has to end well."""
        for member in self.all:
            member.ready(patience)
            member.signal(signal.SIGTERM)
        found, deadline = [], time.monotonic() + patience
        for member in self.all:
            code = member.wait(max(0.1, deadline - time.monotonic()))
            if code != 0:
                found.append(Objection(UNCAUSED, f"SIGTERM ended a consumer with {code}: {member.last_words()}"))
        return found

    def said(self) -> tuple[Counter[str], list[Objection]]:
        """Return how often each event was logged, and what no log may say."""
        events: Counter[str] = Counter()
        found = []
        for member in self.all:
            lines = member.log.read_text(errors="replace").splitlines()
            for line in lines:
                if "Traceback" in line or CONFIDENTIAL in line:
                    found.append(Objection(DISCREET, f"a log says: {line[:300]}"))
                events[_event(line)] += 1
        return events, found


def _event(line: str) -> str:
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return "not JSON"
