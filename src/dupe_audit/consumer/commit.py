"""A commit of offsets on a thread of its own, which hears no signal and waits as long as the broker is down."""

from __future__ import annotations

import threading

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

Place = tuple[str, int]


class Commit:
    """One call to the broker, and its answer for each partition."""

    def __init__(self, consumer: Consumer, offsets: list[TopicPartition]) -> None:
        self._consumer, self._offsets = consumer, offsets
        self.answers: list[tuple[Place, KafkaError | None]] = []
        self.done = threading.Event()
        threading.Thread(target=self._ask, name="commit", daemon=True).start()

    def _ask(self) -> None:
        try:
            answers = self._consumer.commit(offsets=self._offsets, asynchronous=False) or []
            self.answers = [((one.topic, one.partition), one.error) for one in answers]
        except KafkaException as error:
            self.answers = [(("", 0), error.args[0])]
        finally:
            self.done.set()
