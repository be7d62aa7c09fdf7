"""A commit of offsets in its own thread, because the call receives no signals and blocks while the broker is down."""

from __future__ import annotations

import threading

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dupe_audit.consumer.partitions import Partition


class Commit:
    """One request to the broker, and its result for each partition."""

    def __init__(self, consumer: Consumer, offsets: list[TopicPartition]) -> None:
        self._consumer, self._offsets = consumer, offsets
        self.results: list[tuple[Partition, KafkaError | None]] = []  #: complete once ``done`` is set
        self.done = threading.Event()
        threading.Thread(target=self._request, name="commit", daemon=True).start()

    def _request(self) -> None:
        try:
            committed = self._consumer.commit(offsets=self._offsets, asynchronous=False) or []
            self.results = [((result.topic, result.partition), result.error) for result in committed]
        except KafkaException as error:
            self.results = [(("", 0), error.args[0])]
        finally:
            self.done.set()
