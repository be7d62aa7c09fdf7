"""The producer: sends the seeded stream at a steady rate, and remembers what it has made."""

import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

from confluent_kafka import Producer

from torture.consumer.broker import PARTITIONS, QUIET
from torture.consumer.reading import NUMBER
from torture.consumer.scene import Scene
from torture.consumer.stream import Message, stream


class Sender:
    """A context manager; inside it a thread sends. ``finish`` waits until every message is acknowledged."""

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
        self.made: list[Message] = []  #: by the number in its header; without the values, which take much memory
        self._lock = threading.Lock()
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._producer.purge()

    def finish(self, messages: int = 0, seconds: float = 180) -> None:
        """Stop sending after at least that many messages, and wait for the acknowledgements.

        Raises:
            RuntimeError: a message was not acknowledged, so it is unknown what was produced.
        """
        deadline = time.monotonic() + seconds
        while len(self.made) < messages and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stop.set()
        self._thread.join(10)
        outstanding = self._producer.flush(seconds)
        if outstanding or self.failed:
            raise RuntimeError(f"{outstanding + len(self.failed)} messages were not acknowledged: {self.failed[:3]}")

    def send(self, message: Message) -> None:
        """Send one message."""
        with self._lock:  # a strike sends messages, too
            number = len(self.made)
            self.made.append(replace(message, value=None))
        while True:
            with suppress(BufferError):
                self._producer.produce(
                    self._topic,
                    message.value,
                    message.key,
                    message.partition,
                    headers={NUMBER: str(number)},
                    on_delivery=self._acknowledged,
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

    def _acknowledged(self, error: Any, _message: Any) -> None:
        if error is not None:
            self.failed.append(str(error))
