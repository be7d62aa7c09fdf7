"""The seeded stream: new events, redeliveries at once and much later, collisions, and poison."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from torture.consumer.events import Content, spell
from torture.consumer.poison import KINDS, poison

#: shares of the messages
REDELIVERIES, COLLISIONS, POISON = 0.2, 0.01, 0.03


@dataclass(frozen=True)
class Message:
    """A message for a partition: either it has content, or it is poison of some kind."""

    partition: int
    key: bytes | None
    value: bytes | None
    content: Content | None = None
    kind: str = ""


def stream(seed: str, partitions: int) -> Iterator[Message]:
    """Yield messages without end; the seed decides everything."""
    random = Random(seed)
    sent: list[Message] = []  # the latest good ones
    kinds = itertools.cycle(random.sample(list(KINDS), len(KINDS)))
    numbers, bad = itertools.count(1), itertools.count(1)
    while True:
        chance = random.random()
        if chance < POISON:
            kind, number = next(kinds), next(bad)
            value = poison(kind, number, random)
            yield Message(random.randrange(partitions), f"bad {number}".encode(), value, kind=kind)
            continue
        if sent and chance < POISON + REDELIVERIES:
            made = _again(random, sent, partitions)
        elif sent and chance < POISON + REDELIVERIES + COLLISIONS:
            made = _collision(random, sent, partitions)
        else:
            content = Content(next(numbers), 0)
            made = Message(random.randrange(partitions), _key(content), spell(content, random), content)
        sent.append(made)
        del sent[:-2000]
        yield made


def _key(content: Content) -> bytes | None:
    return None if content.number % 10 == 0 else f"event {content.number}".encode()


def _again(random: Random, sent: list[Message], partitions: int) -> Message:
    """Return a message that was sent before: half the time the last one, so that two consumers have it at once."""
    old = sent[-1] if random.random() < 0.5 else random.choice(sent)
    # Another producer would write the same event in another way.
    value = spell(old.content, random) if old.content and random.random() < 0.2 else old.value
    return Message(random.randrange(partitions), old.key, value, old.content)


def _collision(random: Random, sent: list[Message], partitions: int) -> Message:
    old = random.choice(sent).content or Content(1, 0)
    content = Content(old.number, old.version + 1)
    return Message(random.randrange(partitions), _key(content), spell(content, random), content)
