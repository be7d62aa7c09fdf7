"""The messages at hand, with what has become of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import Message

from dupe_audit.consumer.config import EventRule
from dupe_audit.consumer.dlq import Rejection
from dupe_audit.consumer.events import Decoder, Row
from dupe_audit.consumer.fields import Poison
from dupe_audit.writer import Outcome

Place = tuple[str, int]


class Item:
    """One message."""

    __slots__ = ("message", "place", "rejection", "row")

    def __init__(self, message: Message[Any, Any], row: Row | None, rejection: Rejection | None) -> None:
        self.message = message
        self.place: Place = (message.topic() or "", int(message.partition() or 0))
        self.row = row
        self.rejection = rejection


class Batch:
    """Messages in the order in which they came, until their offsets are committed."""

    def __init__(self, messages: Iterable[Message[Any, Any]], decode: Decoder, rule: EventRule) -> None:
        self._rule = rule
        self.skipped = 0
        self.counts: Counter[str] = Counter()
        self.items = [self._item(message, decode) for message in messages]

    def _item(self, message: Message[Any, Any], decode: Decoder) -> Item:
        try:
            return Item(message, decode(message.value()), None)
        except Poison as poison:
            if poison.reason == "tombstone" and self._rule.tombstones == "skip":
                return Item(message, None, None)
            return Item(message, None, Rejection(reason=poison.reason, message=str(poison)))

    def keep(self, owned: set[Place]) -> None:
        """Drop the messages of partitions that are no longer ours: another member has them now."""
        self.items = [item for item in self.items if item.place in owned]

    def rows(self) -> list[Row]:
        """Return the rows to write."""
        return [item.row for item in self.items if item.row is not None]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take what became of the rows, in their order."""
        written = (item for item in self.items if item.row is not None)
        for item, outcome in zip(written, outcomes, strict=True):
            self.counts[outcome.kind] += 1
            if outcome.kind == "rejected":
                item.rejection = Rejection(
                    reason="database", message=outcome.reason or "refused", sqlstate=outcome.sqlstate
                )
            elif outcome.kind == "collision" and self._rule.collisions == "dlq":
                item.rejection = Rejection(reason="collision", message="the key is there with other data")
        self.skipped = sum(item.row is None and item.rejection is None for item in self.items)

    def rejected(self) -> list[tuple[Message[Any, Any], Rejection]]:
        """Return the messages that go to the dead letters."""
        return [(item.message, item.rejection) for item in self.items if item.rejection is not None]

    def by_topic(self) -> dict[str, tuple[int, int]]:
        """Return the number of messages and of rejected ones, by topic."""
        events = Counter(item.place[0] for item in self.items)
        rejected = Counter(item.place[0] for item in self.items if item.rejection is not None)
        return {topic: (count, rejected[topic]) for topic, count in events.items()}

    def offsets(self) -> dict[Place, int]:
        """Return where each partition goes on."""
        return {item.place: int(item.message.offset() or 0) + 1 for item in self.items}
