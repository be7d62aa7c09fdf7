"""What was seen: messages, rows, dead letters and offsets; the invariants are asked of nothing else."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torture.consumer.events import Content

#: partition and offset in the topic of events
Place = tuple[int, int]


def digest(data: bytes | None) -> bytes | None:
    """Return a short stand-in for bytes, of which a run produces gigabytes."""
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
    """A row, read back: which event it is, or what is wrong with it."""

    content: Content | None
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, with where its message came from."""

    place: Place
    reason: str
    key: bytes | None
    value: bytes | None


@dataclass
class Facts:
    """Everything that is known at one moment."""

    sent: Mapping[Place, Sent] = field(default_factory=dict)
    table: Iterable[Stored] = ()
    archive: Iterable[Stored] = ()
    letters: Iterable[Letter] = ()
    ends: Mapping[int, int] = field(default_factory=dict)  #: by partition, the offset after the last message
    committed: Mapping[int, int] = field(default_factory=dict)
