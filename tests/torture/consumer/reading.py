"""Read topics to their current ends: what is really in them, whatever the producer was told."""

import threading
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from torture.consumer.broker import DLQ_PARTITIONS, PARTITIONS, QUIET, Broker, unique
from torture.consumer.facts import Letter, Place, Sent, digest
from torture.consumer.scene import Scene
from torture.consumer.stream import Message

#: the header with a message's number among those that were made
NUMBER = "made"


class Reader:
    """Reads a topic and continues where it stopped."""

    def __init__(self, broker: Broker, topic: str, partitions: int) -> None:
        self._broker, self._topic = broker, topic
        self._lock = threading.Lock()
        self.ends = dict.fromkeys(range(partitions), 0)

    def read(self, seconds: float = 120) -> None:
        """Take every message so far. A new client is used, so that the end that it reaches is the current end.

        Raises:
            TimeoutError: the broker does not answer.
        """
        with self._lock:
            self._read(seconds)

    def _read(self, seconds: float) -> None:
        reader = Consumer(
            {
                "bootstrap.servers": self._broker.address,
                "group.id": unique("reader"),
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
                "reconnect.backoff.max.ms": 300,
                **QUIET,
            }
        )
        try:
            reader.assign([TopicPartition(self._topic, *place) for place in self.ends.items()])
            ended: set[int] = set()
            for _ in range(int(seconds / 0.1)):
                for message in reader.consume(2000, 0.1):
                    if message.error() is None:
                        self.ends[message.partition()] = message.offset() + 1
                        self.take(message)
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
                if len(ended) == len(self.ends):
                    return
        finally:
            reader.close()
        raise TimeoutError(f"{self._topic} could not be read to its end")

    def take(self, message: Any) -> None:
        """Keep what is needed of a message."""
        raise NotImplementedError


class Truth(Reader):
    """The topic of events; a producer that resends a message after a broken connection does not get its offset."""

    def __init__(self, scene: Scene, made: list[Message]) -> None:
        super().__init__(scene.broker, scene.topic, PARTITIONS)
        self._made = made
        self.sent: dict[Place, Sent] = {}
        self.numbers: set[int] = set()

    def take(self, message: Any) -> None:
        """Match the message with the one that was made."""
        number = int(dict(message.headers())[NUMBER])
        made, place = self._made[number], (message.partition(), message.offset())
        self.numbers.add(number)
        self.sent[place] = Sent(place, made.content, made.kind, digest(message.key()), digest(message.value()))


class Postbox(Reader):
    """The topic of dead letters."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene.broker, f"{scene.topic}-dlq", DLQ_PARTITIONS)
        self.letters: list[Letter] = []

    def take(self, message: Any) -> None:
        """Read where the letter's message came from."""
        headers = {name: value.decode() for name, value in message.headers() or []}
        place = (int(headers.get("dupe-audit-partition", -1)), int(headers.get("dupe-audit-offset", -1)))
        reason = headers.get("dupe-audit-reason", "")
        self.letters.append(Letter(place, reason, digest(message.key()), digest(message.value())))
