"""Checks continuously whether an offset is beyond a message that is nowhere, and whether a key exists twice."""

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
    """A context manager; inside it a thread samples, and collects ``objections``."""

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
        self.backwards = 0  #: committed offsets that were smaller than before, which only means redelivery
        self.absent = 0  #: looks at the table without a valid constraint
        self.twice = 0  #: of them, those in which a key existed twice

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._observer.close()

    @property
    def alive(self) -> bool:
        """Whether it still samples."""
        return self._thread.is_alive()

    def finish(self) -> None:
        """Stop sampling; raise the error that has ended the thread before, if there is one."""
        self._stop.set()
        self._thread.join(60)
        if self._error:
            raise self._error

    def committed(self) -> dict[int, int]:
        """Return the committed offsets now."""
        return self._scene.committed(self._observer)

    def sample(self) -> None:
        """Read the committed offsets, and then check that every message below them is a row or a dead letter."""
        committed = self.committed()
        self.backwards += sum(offset < self._verified.get(partition, 0) for partition, offset in committed.items())
        if any(offset > self._verified.get(partition, 0) for partition, offset in committed.items()):
            self.truth.read()
            fresh = [
                self.truth.sent[partition, offset]
                for partition, end in committed.items()
                for offset in range(self._verified.get(partition, 0), end)
            ]
            if any(sent.kind for sent in fresh):
                self.postbox.read()
            rows = self._scene.table({sent.content.number for sent in fresh if sent.content})
            facts = Facts(self.truth.sent, table=rows, letters=self.postbox.letters, committed=committed)
            self.objections += [Objection(OFFSETS, violation) for violation in offsets(facts, self._verified)]
            self._verified.update({p: max(end, self._verified.get(p, 0)) for p, end in committed.items()})
        self.samples += 1

    def look(self) -> None:
        """Count without indexes; what it finds is a violation if the constraint was valid from beginning to end."""
        before = self._scene.world.ask(VALID)
        duplicates = once(Facts(table=self._scene.table()))
        if not before:
            self.absent += 1
            self.twice += bool(duplicates)
        elif self._scene.world.ask(VALID) == before:
            self.checks += 1
            self.objections += [Objection(ONCE, violation) for violation in duplicates]

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001 - raised by finish(): a dead watcher must not look like a silent one
            self._error = error

    def _watch(self) -> None:
        looked = 0.0
        while not self._stop.wait(self._pause):
            # The server or the broker may be away; the strikes do that.
            with suppress(psycopg.OperationalError, KafkaException, TimeoutError):
                self.sample()
                if time.monotonic() > looked + 1:
                    self.look()
                    looked = time.monotonic()
