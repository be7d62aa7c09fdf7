"""The producer: sends the seeded stream at a steady rate, and keeps what the broker has acknowledged."""

import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any, Self

from confluent_kafka import Message as Delivered
from confluent_kafka import Producer

from torture.consumer.broker import PARTITIONS, QUIET
from torture.consumer.facts import Place, Sent, digest
from torture.consumer.scene import Scene
from torture.consumer.stream import Message, stream


class Sender:
    """A context manager; inside it a thread sends. ``finish`` waits until everything is acknowledged."""

    def __init__(self, scene: Scene, seed: str, rate: float) -> None:
        self._topic, self._rate = scene.topic, rate
        self._stream = stream(seed, PARTITIONS)
        self._producer = Producer(
            {
                "bootstrap.servers": scene.broker.address,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.max.bytes": 3_000_000,
                "delivery.timeout.ms": 120_000,
                "reconnect.backoff.max.ms": 300,
                **QUIET,
            }
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)
        self.sent: dict[Place, Sent] = {}
        self.ends: Counter[int] = Counter()
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._producer.purge()

    def finish(self, seconds: float = 60) -> None:
        """Stop sending, and wait for the acknowledgements.

        Raises:
            RuntimeError: a message was not acknowledged, so nobody knows what was produced.
        """
        self._stop.set()
        self._thread.join(10)
        left = self._producer.flush(seconds)
        if left or self.failed:
            raise RuntimeError(f"{left + len(self.failed)} messages were not acknowledged: {self.failed[:3]}")

    def send(self, message: Message) -> None:
        """Send one message."""
        while True:
            with suppress(BufferError):
                self._producer.produce(
                    self._topic,
                    message.value,
                    message.key,
                    message.partition,
                    on_delivery=partial(self._acknowledged, message),
                )
                return
            self._producer.poll(0.05)

    def _run(self) -> None:
        began, number = time.monotonic(), 0
        while not self._stop.is_set():
            due = (time.monotonic() - began) * self._rate
            while number < due and not self._stop.is_set():
                self.send(next(self._stream))
                number += 1
            self._producer.poll(0)
            self._stop.wait(0.01)

    def _acknowledged(self, message: Message, error: Any, delivered: Delivered) -> None:
        if error is not None:
            self.failed.append(str(error))
            return
        place = (message.partition, int(delivered.offset() or 0))
        self.sent[place] = Sent(place, message.content, message.kind, digest(message.key), digest(message.value))
        self.ends[message.partition] = max(self.ends[message.partition], place[1] + 1)
