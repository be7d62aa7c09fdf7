"""The Kafka side: messages in, offsets back, and the partitions assigned to this process meanwhile.

Rebalances run inside ``poll``, on the one thread that polls and writes, so none can happen while a batch is written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from dupe_audit.consumer.commit import Commit
from dupe_audit.consumer.config import KafkaSettings
from dupe_audit.consumer.health import Health
from dupe_audit.consumer.kafka_errors import raise_if_permanent
from dupe_audit.consumer.librdkafka import consumer_settings, error_text
from dupe_audit.consumer.logs import ERROR_EVERY, librdkafka_log, log_event
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.consumer.partitions import Partition, offset_of, partition_of
from dupe_audit.errors import WrongUsage
from dupe_audit.postgres.patience import Throttle

#: seconds between two tries to commit refused offsets, while no events arrive
COMMIT_EVERY = 1.0

#: seconds to wait for the result of a commit between two looks at what else happened, such as a signal
HEARTBEAT_EVERY = 0.25

#: greater than any offset: the end of a partition whose end is not known
_UNKNOWN_END = 1 << 63


class Source:
    """A member of a consumer group."""

    def __init__(self, kafka: KafkaSettings, metrics: Metrics, health: Health, *, track_ends: bool = False) -> None:
        """Create the client, without joining the group.

        Args:
            kafka: where events come from.
            metrics: counts errors and rebalances.
            health: records whether the group was joined.
            track_ends: remember each partition's end as first seen, for ``is_beyond_end`` and ``finished``.

        Raises:
            WrongUsage: librdkafka rejects a setting.
        """
        self._metrics, self._health, self._topics = metrics, health, kafka.topics
        self.owned: set[Partition] = set()
        self._paused = False
        self._positions: dict[Partition, int] = {}  #: next offset to read, after the last batch
        self._uncommitted: dict[Partition, int] = {}
        self._refused_at = 0.0
        self._commit: Commit | None = None
        self._ends: dict[Partition, int] = {}  #: as first seen
        self._at_end: set[Partition] = set()
        self._unknown_topics: set[str] = set()
        self._throttles: dict[int, Throttle] = {}  #: of log lines, by error code
        settings: dict[str, Any] = {**consumer_settings(kafka), "error_cb": self._on_error}
        if track_ends:
            settings["enable.partition.eof"] = "true"
        try:
            self._consumer = Consumer(settings, logger=librdkafka_log)
        except KafkaException as error:
            raise WrongUsage(
                f"librdkafka rejects the settings: {error_text(error, kafka.librdkafka.values())}"
            ) from None

    def subscribe(self) -> None:
        """Join the group."""
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, count: int, seconds: float) -> list[Message[Any, Any]]:
        """Return up to *count* messages of owned partitions, after at most *seconds*.

        Raises:
            DupeAuditError: a permanent error of Kafka.
        """
        try:
            messages = self._consumer.consume(count, seconds)
        except KafkaException as error:
            self._on_error(error.args[0])
            return []
        return [message for message in messages if self._is_event(message)]

    def owns(self, message: Message[Any, Any]) -> bool:
        """Return whether the partition of a message is assigned to this process."""
        return partition_of(message) in self.owned

    def pause(self) -> None:
        """Stop fetching; the partitions are kept as long as ``poll`` is called."""
        if not self._paused:
            self._paused = True
            self._consumer.pause(self._owned_partitions())

    def resume(self) -> None:
        """Fetch again."""
        if self._paused:
            self._paused = False
            self._consumer.resume(self._owned_partitions())

    def commit(self, offsets: Mapping[Partition, int], heartbeat: Callable[[], None]) -> None:
        """Commit the next offsets of the partitions that are still owned, and those that were refused before.

        The request has its own thread, because it receives no signals and blocks while the broker is down: until the
        group's session times out, which is sooner than a member that does not poll is removed. Until then every other
        call of the client would block this thread too. The broker may refuse a commit during a rebalance. It is then
        tried again, or the events are delivered again, as duplicates, to the member that has the partition.

        Args:
            offsets: the next offset to read, by partition.
            heartbeat: called now and then while this waits; ends the wait by raising.

        Raises:
            DupeAuditError: a permanent error of Kafka.
        """
        self._positions.update(offsets)
        self._uncommitted.update(
            {partition: offset for partition, offset in offsets.items() if partition in self.owned}
        )
        if not self._uncommitted or (not offsets and time.monotonic() < self._refused_at + COMMIT_EVERY):
            return
        positions = [TopicPartition(*partition, offset) for partition, offset in self._uncommitted.items()]
        self._commit = commit = Commit(self._consumer, positions)
        while not commit.done.wait(HEARTBEAT_EVERY):
            heartbeat()
        for partition, refusal in commit.results:
            if refusal is None:
                self._uncommitted.pop(partition, None)
            else:
                self._on_commit_refused(refusal)
        if all(refusal is None for _partition, refusal in commit.results):
            self._metrics.last_commit.set(time.time())

    def update_lag(self) -> None:
        """Set the lag of each partition, as of the last fetch; this does not ask the broker."""
        for partition, offset in self._positions.items():
            if partition in self.owned and (end := self._end_offset(partition)) is not None:
                self._metrics.set_lag(*partition, max(0, end - offset))

    def is_beyond_end(self, message: Message[Any, Any]) -> bool:
        """Return whether a message lies beyond the end of its partition as first seen."""
        partition = partition_of(message)
        if partition not in self._ends and (end := self._end_offset(partition)) is not None:
            self._ends[partition] = end
        return offset_of(message) >= self._ends.get(partition, _UNKNOWN_END)

    def finished(self) -> bool:
        """Return whether every partition was read up to its end as first seen."""
        if not self._health.joined:
            return self._unknown_topics >= set(self._topics)
        return all(
            partition in self._at_end or self._positions.get(partition, 0) >= self._ends.get(partition, _UNKNOWN_END)
            for partition in self.owned
        )

    def close(self) -> None:
        """Leave the group, unless the broker has not answered a commit: it would not answer this either."""
        if self._commit is None or self._commit.done.wait(1):
            self._consumer.close()

    def _end_offset(self, partition: Partition) -> int | None:
        try:
            _low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
        except KafkaException:
            return None
        return high if high >= 0 else None

    def _owned_partitions(self) -> list[TopicPartition]:
        return [TopicPartition(*partition) for partition in sorted(self.owned)]

    def _is_event(self, message: Message[Any, Any]) -> bool:
        error = message.error()
        if error is None:
            return self.owns(message)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes are public under this name
            self._at_end.add(partition_of(message))
            return False
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._unknown_topics.add(message.topic() or "")
        self._on_error(error)
        return False

    def _on_error(self, error: KafkaError) -> None:
        self._metrics.kafka_errors.labels(error.name()).inc()
        raise_if_permanent(error)
        if self._throttles.setdefault(error.code(), Throttle(ERROR_EVERY)).due():
            log_event("kafka", level=logging.WARNING, code=error.name(), message=error.str())

    def _on_commit_refused(self, error: KafkaError) -> None:
        self._refused_at = time.monotonic()
        self._metrics.commit_errors.labels(error.name()).inc()
        raise_if_permanent(error)
        log_event("commit_failed", level=logging.WARNING, code=error.name())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        if self._paused:
            consumer.pause(partitions)
        self._health.joined = True
        self.owned |= _pairs(partitions)
        self._report_rebalance("assigned", partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # There is nothing to commit now: poll runs between batches, or while a batch waits to be written.
        consumer.incremental_unassign(partitions)
        self._release("revoked", partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        self._health.joined = False
        self._release("lost", partitions)

    def _release(self, kind: str, partitions: list[TopicPartition]) -> None:
        released = _pairs(partitions)
        self.owned -= released
        for offsets in (self._positions, self._ends, self._uncommitted):
            for partition in released:
                offsets.pop(partition, None)
        self._at_end -= released
        self._metrics.remove_lag(released)
        self._report_rebalance(kind, partitions)

    def _report_rebalance(self, kind: str, partitions: Iterable[TopicPartition]) -> None:
        self._metrics.rebalances.labels(kind).inc()
        self._metrics.assigned.set(len(self.owned))
        names = [f"{partition.topic}[{partition.partition}]" for partition in partitions]
        log_event("partitions", kind=kind, partitions=names)


def _pairs(partitions: Iterable[TopicPartition]) -> set[Partition]:
    return {(partition.topic, partition.partition) for partition in partitions}
