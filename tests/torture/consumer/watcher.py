"""Asks all the time whether an offset is beyond a message that is nowhere, and whether a key is there twice."""

import threading
import time
from contextlib import suppress
from typing import Self

import psycopg
from confluent_kafka import KafkaException

from torture.consumer.facts import Facts
from torture.consumer.invariants import OFFSETS, ONCE, offsets, once
from torture.consumer.producer import Sender
from torture.consumer.reading import Postbox, Truth
from torture.consumer.scene import CONSTRAINT, Scene
from torture.invariants import Objection

VALID = (
    "SELECT conindid FROM pg_constraint c JOIN pg_index i ON i.indexrelid = c.conindid "
    f"WHERE conname = '{CONSTRAINT}' AND indisvalid"
)


class Watcher:
    """A context manager; inside it a thread samples. What it finds is in ``objections``."""

    def __init__(self, scene: Scene, sender: Sender, pause: float = 0.15) -> None:
        self._scene, self._pause = scene, pause
        self._observer = scene.observer()
        self.truth, self.postbox = Truth(scene, sender.made), Postbox(scene)
        self._verified: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._error: Exception | None = None
        self.objections: list[Objection] = []
        self.samples = 0  #: of the offsets
        self.checks = 0  #: of the table while the constraint was valid
        self.backwards = 0  #: a committed offset that was smaller than before, which only means redelivery
        self.absent = 0  #: looks at the table that found no valid constraint
        self.twice = 0  #: of them, those in which a key was there twice

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._observer.close()

    def finish(self) -> None:
        """Stop sampling. Raises what has ended the thread before."""
        self._stop.set()
        self._thread.join(60)
        if self._error:
            raise self._error

    def committed(self) -> dict[int, int]:
        """Return the committed offsets now."""
        return self._scene.committed(self._observer)

    def sample(self) -> None:
        """Read the committed offsets, and then see whether everything below them is somewhere."""
        committed = self.committed()
        self.backwards += sum(offset < self._verified.get(one, 0) for one, offset in committed.items())
        if any(offset > self._verified.get(one, 0) for one, offset in committed.items()):
            self.truth.read()
            fresh = [
                self.truth.sent[one, offset]
                for one, end in committed.items()
                for offset in range(self._verified.get(one, 0), end)
            ]
            if any(sent.kind for sent in fresh):
                self.postbox.read()
            rows = self._scene.table({sent.content.number for sent in fresh if sent.content})
            facts = Facts(self.truth.sent, table=rows, letters=self.postbox.letters, committed=committed)
            self.objections += [Objection(OFFSETS, what) for what in offsets(facts, self._verified)]
            self._verified.update({one: max(end, self._verified.get(one, 0)) for one, end in committed.items()})
        self.samples += 1

    def look(self) -> None:
        """Count, trusting no index, while the constraint is valid from the beginning to the end."""
        before = self._scene.world.ask(VALID)
        wrong = once(Facts(table=self._scene.table()))
        if not before:
            self.absent += 1
            self.twice += bool(wrong)
        elif self._scene.world.ask(VALID) == before:
            self.checks += 1
            self.objections += [Objection(ONCE, what) for what in wrong]

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001 - raised by finish(): blindness must not look like finding nothing
            self._error = error

    def _watch(self) -> None:
        looked = 0.0
        while not self._stop.wait(self._pause):
            # The server or the broker is away: that is the point of the exercise.
            with suppress(psycopg.OperationalError, KafkaException, TimeoutError):
                self.sample()
                if time.monotonic() > looked + 1:
                    self.look()
                    looked = time.monotonic()
