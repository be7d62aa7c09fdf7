"""Which partition a message belongs to, and at which offset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # needed only for annotations; the extra may be missing
    from confluent_kafka import Message

#: a topic and a partition number
Partition = tuple[str, int]


def partition_of(message: Message[Any, Any]) -> Partition:
    """Return the topic and partition of a message."""
    return message.topic() or "", int(message.partition() or 0)


def offset_of(message: Message[Any, Any]) -> int:
    """Return the offset of a message; negative if the broker did not report one."""
    return int(message.offset() or 0)
