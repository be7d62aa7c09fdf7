"""Observed messages, rows, dead letters and offsets: all that the invariants read."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torture.consumer.events import Content

#: partition and offset in the topic of events
Place = tuple[int, int]


def digest(data: bytes | None) -> bytes | None:
    """Return a short digest instead of the bytes, of which a campaign produces gigabytes."""
    return None if data is None else hashlib.blake2b(data, digest_size=12).digest()


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the broker has acknowledged: an event's content, or poison of a kind."""

    place: Place
    content: Content | None
    kind: str
    key: bytes | None  #: digests both
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the table or the archive: its event, or what is wrong with it."""

    content: Content | None
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, with the place of its message."""

    place: Place
    reason: str
    key: bytes | None
    value: bytes | None


@dataclass
class Facts:
    """All observations at one moment."""

    sent: Mapping[Place, Sent] = field(default_factory=dict)
    table: Iterable[Stored] = ()
    archive: Iterable[Stored] = ()
    letters: Iterable[Letter] = ()
    ends: Mapping[int, int] = field(default_factory=dict)  #: by partition, the offset after the last message
    committed: Mapping[int, int] = field(default_factory=dict)
