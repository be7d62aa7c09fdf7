"""The current batch of messages, with the outcome of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import Message

from dupe_audit.consumer.config import EventSettings
from dupe_audit.consumer.dlq import Rejection
from dupe_audit.consumer.events import Decoder, Row
from dupe_audit.consumer.fields import Poison
from dupe_audit.consumer.partitions import Partition, offset_of, partition_of
from dupe_audit.writer import Outcome


class Item:
    """One message: with its row, with the reason for its rejection, or skipped, with neither."""

    __slots__ = ("message", "partition", "rejection", "row")

    def __init__(self, message: Message[Any, Any], row: Row | None, rejection: Rejection | None) -> None:
        self.message = message
        self.partition: Partition = partition_of(message)
        self.row = row
        self.rejection = rejection


class EventBatch:
    """Messages in the order of their arrival, until their offsets are committed."""

    def __init__(self, messages: Iterable[Message[Any, Any]], decode: Decoder, settings: EventSettings) -> None:
        self._settings = settings
        self.skipped = 0
        self.counts: Counter[str] = Counter()
        self.items = [self._item(message, decode) for message in messages]

    def _item(self, message: Message[Any, Any], decode: Decoder) -> Item:
        try:
            return Item(message, decode(message.value()), None)
        except Poison as poison:
            if poison.reason == "tombstone" and self._settings.tombstones == "skip":
                return Item(message, None, None)
            return Item(message, None, Rejection(reason=poison.reason, message=str(poison)))

    def keep_owned(self, owned: set[Partition]) -> None:
        """Drop the messages of partitions that this process has lost: another member reads them now."""
        self.items = [item for item in self.items if item.partition in owned]

    def rows(self) -> list[Row]:
        """Return the rows to write."""
        return [item.row for item in self.items if item.row is not None]

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Record the outcomes of ``rows``, in the same order."""
        written = (item for item in self.items if item.row is not None)
        for item, outcome in zip(written, outcomes, strict=True):
            self.counts[outcome.kind] += 1
            if outcome.kind == "rejected":
                item.rejection = Rejection(
                    reason="database", message=outcome.reason or "refused", sqlstate=outcome.sqlstate
                )
            elif outcome.kind == "collision" and self._settings.collisions == "dlq":
                item.rejection = Rejection(reason="collision", message="the key already exists with other data")
        self.skipped = sum(item.row is None and item.rejection is None for item in self.items)

    def rejected(self) -> list[tuple[Message[Any, Any], Rejection]]:
        """Return the messages to dead-letter, each with its reason."""
        return [(item.message, item.rejection) for item in self.items if item.rejection is not None]

    def counts_by_topic(self) -> dict[str, tuple[int, int]]:
        """Return the number of messages and of rejected messages, by topic."""
        events = Counter(item.partition[0] for item in self.items)
        rejected = Counter(item.partition[0] for item in self.items if item.rejection is not None)
        return {topic: (count, rejected[topic]) for topic, count in events.items()}

    def offsets(self) -> dict[Partition, int]:
        """Return the next offset to read, for each partition."""
        return {item.partition: offset_of(item.message) + 1 for item in self.items}
