"""The Kafka side: messages in, offsets back, and the partitions that are ours meanwhile.

Rebalances run inside ``poll``, on the one thread that polls and writes, so none can happen while a batch is written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from dupe_audit.consumer.commit import Commit, Place
from dupe_audit.consumer.config import KafkaRule
from dupe_audit.consumer.health import Health
from dupe_audit.consumer.librdkafka import for_consumer, told
from dupe_audit.consumer.logs import SAY_EVERY, librdkafka, say
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.errors import DupeAuditError, WrongUsage

#: errors that going on cannot mend, and what may
HOPELESS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Allow this user to read the topics.",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Allow this user to use the consumer group.",
    KafkaError.FENCED_INSTANCE_ID: "Another process has the same kafka.instance_id.",
    KafkaError._AUTO_OFFSET_RESET: (  # noqa: SLF001 - librdkafka's own codes are public under this name
        "The group has no offsets there, or the broker has deleted the events that they point to. "
        'Set the offsets of the group, or kafka.start = "earliest".'
    ),
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: (
        "Other members of the group assign partitions in another way: stop them all, then start these."
    ),
}

#: seconds between tries to commit again what was refused, where no events come
COMMIT_EVERY = 1.0

#: seconds without an answer to a commit after which to poll, so as not to lose the membership
POLL_AFTER = 0.25


class Source:
    """A member of a consumer group."""

    def __init__(self, rule: KafkaRule, metrics: Metrics, health: Health, *, to_the_end: bool = False) -> None:
        """Connect, and join nothing yet.

        Args:
            rule: where events come from.
            metrics: counts errors and rebalances.
            health: is told whether the group was joined.
            to_the_end: note where each partition ends at first sight, for ``finished``.

        Raises:
            WrongUsage: librdkafka does not take a setting.
        """
        self._metrics, self._health, self._topics = metrics, health, rule.topics
        self.owned: set[Place] = set()
        self._paused = False
        self._to_the_end = to_the_end
        self._ends: dict[Place, int] = {}
        self._next: dict[Place, int] = {}
        self._uncommitted: dict[Place, int] = {}
        self._refused_at = 0.0
        self._asked: Commit | None = None
        self._ended: set[Place] = set()
        self._unknown: set[str] = set()
        self._said: dict[int, float] = {}
        settings: dict[str, Any] = {**for_consumer(rule), "error_cb": self._on_error}
        if to_the_end:
            settings["enable.partition.eof"] = "true"
        try:
            self._consumer = Consumer(settings, logger=librdkafka)
        except KafkaException as error:
            raise WrongUsage(
                f"librdkafka does not take the settings: {told(error, rule.librdkafka.values())}"
            ) from None

    def subscribe(self) -> None:
        """Join the group."""
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, events: int, seconds: float) -> list[Message[Any, Any]]:
        """Return up to *events* messages of partitions that are ours, waiting for them at most that long.

        Raises:
            DupeAuditError: an error that going on cannot mend.
        """
        try:
            found = self._consumer.consume(events, seconds)
        except KafkaException as error:
            self._on_error(error.args[0])
            return []
        return [message for message in found if self._is_event(message)]

    def has(self, message: Message[Any, Any]) -> bool:
        """Tell whether a message is of a partition that is ours."""
        return place_of(message) in self.owned

    def pause(self) -> None:
        """Fetch nothing, and keep the partitions as long as ``poll`` is called."""
        if not self._paused:
            self._paused = True
            self._consumer.pause(self._partitions())

    def resume(self) -> None:
        """Fetch again."""
        if self._paused:
            self._paused = False
            self._consumer.resume(self._partitions())

    def commit(self, offsets: Mapping[Place, int], waiting: Callable[[], None]) -> list[Message[Any, Any]]:
        """Commit where to go on, for the partitions that are still ours; and what was refused before.

        The call to the broker has a thread of its own, because it hears no signal, and waits as long as the broker
        is down. Meanwhile this one polls, where it takes long, and returns the messages that came. ``waiting`` is
        called now and then; what it raises ends the wait.

        The broker may refuse, in the middle of a rebalance. Then it is asked again, or the events come again, as
        duplicates, to whoever has the partition.

        Raises:
            DupeAuditError: an error that going on cannot mend.
        """
        self._next.update(offsets)
        self._uncommitted.update({place: offset for place, offset in offsets.items() if place in self.owned})
        if not self._uncommitted or (not offsets and time.monotonic() < self._refused_at + COMMIT_EVERY):
            return []
        asked = Commit(self._consumer, [TopicPartition(*place, offset) for place, offset in self._uncommitted.items()])
        self._asked = asked
        early: list[Message[Any, Any]] = []
        while not asked.done.wait(POLL_AFTER):
            self.pause()
            early += self.poll(1, 0.0)
            waiting()
        self.resume()
        for place, refusal in asked.answers:
            if refusal is None:
                self._uncommitted.pop(place, None)
            else:
                self._refused(refusal)
        if all(refusal is None for _place, refusal in asked.answers):
            self._metrics.last_commit.set(time.time())
        return early

    def count_lag(self) -> None:
        """Note how far behind each partition is, as of what was fetched last; the broker is not asked."""
        for place, offset in self._next.items():
            if place in self.owned and (end := self._end(place)) is not None:
                self._metrics.count_lag(*place, max(0, end - offset))

    def beyond(self, message: Message[Any, Any]) -> bool:
        """Tell whether a message came after the end that its partition had at first sight."""
        place = place_of(message)
        if place not in self._ends and (end := self._end(place)) is not None:
            self._ends[place] = end
        return int(message.offset() or 0) >= self._ends.get(place, 1 << 63)

    def finished(self) -> bool:
        """Tell whether every partition was read to the end that it had at first sight."""
        if not self._health.joined:
            return self._unknown >= set(self._topics)
        return all(
            place in self._ended or self._next.get(place, 0) >= self._ends.get(place, 1 << 63) for place in self.owned
        )

    def close(self) -> None:
        """Leave the group; not where the broker has not answered a commit, as it would not answer this either."""
        if self._asked is None or self._asked.done.wait(1):
            self._consumer.close()

    def _end(self, place: Place) -> int | None:
        try:
            _low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
        except KafkaException:
            return None
        return high if high >= 0 else None

    def _partitions(self) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in sorted(self.owned)]

    def _is_event(self, message: Message[Any, Any]) -> bool:
        error = message.error()
        if error is None:
            return place_of(message) in self.owned
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - as above
            self._ended.add(place_of(message))
            return False
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._unknown.add(message.topic() or "")
        self._on_error(error)
        return False

    def _on_error(self, error: KafkaError) -> None:
        self._metrics.kafka_errors.labels(error.name()).inc()
        self._stop_if_hopeless(error)
        if time.monotonic() - self._said.get(error.code(), -SAY_EVERY) >= SAY_EVERY:
            self._said[error.code()] = time.monotonic()
            say("kafka", level=logging.WARNING, code=error.name(), message=error.str())

    def _refused(self, error: KafkaError) -> None:
        self._refused_at = time.monotonic()
        self._metrics.commit_errors.labels(error.name()).inc()
        self._stop_if_hopeless(error)
        say("commit_failed", level=logging.WARNING, code=error.name())

    def _stop_if_hopeless(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in HOPELESS:
            hint = HOPELESS.get(error.code(), "Start the process again.")
            raise DupeAuditError(f"Kafka: {error.str()} ({error.name()}). {hint}")

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        if self._paused:
            consumer.pause(partitions)
        self._health.joined = True
        self.owned |= _places(partitions)
        self._tell("assigned", partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Nothing is in flight that could be committed now: poll runs between batches, or holds one back.
        consumer.incremental_unassign(partitions)
        self._let_go("revoked", partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        self._health.joined = False
        self._let_go("lost", partitions)

    def _let_go(self, kind: str, partitions: list[TopicPartition]) -> None:
        gone = _places(partitions)
        self.owned -= gone
        for place in gone:
            for kept in (self._next, self._ends, self._uncommitted):
                kept.pop(place, None)
        self._ended -= gone
        self._metrics.forget(gone)
        self._tell(kind, partitions)

    def _tell(self, kind: str, partitions: Iterable[TopicPartition]) -> None:
        self._metrics.rebalances.labels(kind).inc()
        self._metrics.assigned.set(len(self.owned))
        say("partitions", kind=kind, partitions=[f"{one.topic}[{one.partition}]" for one in partitions])


def place_of(message: Message[Any, Any]) -> Place:
    """Return the topic and partition of a message."""
    return message.topic() or "", int(message.partition() or 0)


def _places(partitions: Iterable[TopicPartition]) -> set[Place]:
    return {(one.topic, one.partition) for one in partitions}
