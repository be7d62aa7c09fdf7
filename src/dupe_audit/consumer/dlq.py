"""Dead letters: rejected events, as they came, with the reason; nothing is committed before they are acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dupe_audit.consumer.config import DlqRule, KafkaRule
from dupe_audit.consumer.librdkafka import for_producer, told
from dupe_audit.consumer.logs import librdkafka, say
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.errors import DupeAuditError

PREFIX = "dupe-audit-"

Header = tuple[str, bytes | None]

#: seconds of one wait for acknowledgements, between looks at whether to stop
_SLICE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an event did not become a row; in words that hold nothing of it."""

    reason: str  #: one of the documented words
    message: str
    sqlstate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message for a topic of dead letters."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header]


def letter(message: Message[Any, Any], rejection: Rejection, topic: str, version: str) -> Letter:
    """Return the dead letter of a message: its own key, value and headers, and ours.

    A message that is a dead letter itself keeps where it came from at first; its attempts are counted.
    """
    headers = _headers(message)
    before = {name: value for name, value in headers if name.startswith(PREFIX)}
    origin: dict[str, Any] = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
    }
    if f"{PREFIX}offset" in before:
        origin = {name: before.get(PREFIX + name, b"") for name in origin}
    ours = origin | {
        "attempt": _number(before.get(f"{PREFIX}attempt")) + 1,
        "reason": rejection.reason,
        "message": rejection.message,
        "sqlstate": rejection.sqlstate or "",
        "version": version,
    }
    theirs = [(name, value) for name, value in headers if not name.startswith(PREFIX)]
    added = [
        (PREFIX + name, value if isinstance(value, bytes) else str(value).encode()) for name, value in ours.items()
    ]
    return Letter(topic=topic, key=message.key(), value=message.value(), headers=[*theirs, *added])


def _number(value: bytes | None) -> int:
    """Return what a header says, or 0: any producer may write whatever it likes under our names."""
    return int(value) if value is not None and len(value) <= 9 and value.isdigit() else 0


def _headers(message: Message[Any, Any]) -> list[Header]:
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


class DeadLetters:
    """Sends dead letters, and knows when the broker has them."""

    def __init__(self, kafka: KafkaRule, rule: DlqRule, metrics: Metrics) -> None:
        self._kafka, self._rule, self._metrics = kafka, rule, metrics
        self._producer: Producer | None = None
        self._first: dict[tuple[str, int], int] = {}  #: offset of the first letter that went to a partition

    def send(self, letters: Sequence[Letter], waiting: Callable[[], None], pause: Callable[[float], None]) -> None:
        """Return when every letter is acknowledged by all replicas.

        ``waiting`` is called now and then meanwhile, and ``pause`` with seconds between two attempts; what they
        raise ends the wait.

        Raises:
            DupeAuditError: some could not be delivered; they are nowhere but where they came from.
        """
        left = list(letters)
        for attempt in range(1, self._rule.attempts + 1):
            left, error = self._attempt(left, waiting)
            if not left:
                return
            why = error.name() if error else "no answer in time"
            say("dead_letters_undelivered", level=logging.WARNING, count=len(left), code=why, attempt=attempt)
            if attempt < self._rule.attempts:
                pause(min(0.5 * 2 ** (attempt - 1), 5.0))
        raise DupeAuditError(
            f"{len(left)} dead letters could not be delivered to {left[0].topic!r} in {self._rule.attempts} attempts: "
            f"{why}. Check that the topic exists, that this user may write to it, and its max.message.bytes. "
            "Nothing is lost: their offsets are not committed."
        )

    def has_sent(self, message: Message[Any, Any]) -> bool:
        """Tell whether a message came to its partition with the first letter from here, or after it."""
        first = self._first.get((message.topic() or "", int(message.partition() or 0)))
        return first is not None and int(message.offset() or 0) >= first

    def _note(self, message: Message[Any, Any]) -> None:
        place, offset = (message.topic() or "", int(message.partition() or 0)), int(message.offset() or 0)
        if offset >= 0:  # a broker that had it already may not say where
            self._first[place] = min(offset, self._first.get(place, offset))

    def close(self) -> None:
        """Drop what nobody waits for any more."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(1)

    def _attempt(self, letters: list[Letter], waiting: Callable[[], None]) -> tuple[list[Letter], KafkaError | None]:
        """Return the letters that are not acknowledged, and an error of one of them."""
        producer = self._ready()
        acknowledged: set[int] = set()
        errors: list[KafkaError] = []

        def delivered(number: int) -> Callable[[KafkaError | None, Message[Any, Any]], None]:
            def on_delivery(error: KafkaError | None, message: Message[Any, Any]) -> None:
                if error is None:
                    acknowledged.add(number)
                    self._note(message)
                    self._metrics.dlq.labels(message.topic()).inc()
                else:
                    errors.append(error)

            return on_delivery

        for number, one in enumerate(letters):
            while True:
                try:
                    producer.produce(
                        one.topic, one.value, one.key, headers=list(one.headers), on_delivery=delivered(number)
                    )
                    break
                except BufferError:  # the queue is full of letters before this one
                    producer.poll(_SLICE)
                    waiting()
                except KafkaException as error:  # refused at once, such as a message that is too large
                    errors.append(error.args[0])
                    break
        # A moment longer than librdkafka's own limit, so that it is librdkafka that gives up, with a reason.
        until = time.monotonic() + self._rule.timeout / 1000 + 2
        while producer.flush(_SLICE) and time.monotonic() < until:
            waiting()
        if producer.flush(0):
            producer.purge()
            producer.flush(1)
        return [one for number, one in enumerate(letters) if number not in acknowledged], errors[0] if errors else None

    def _ready(self) -> Producer:
        if self._producer is None:
            try:
                self._producer = Producer(for_producer(self._kafka, self._rule), logger=librdkafka)
            except KafkaException as error:  # the settings were tried, but a certificate may have gone since
                raise DupeAuditError(
                    f"Dead letters cannot be sent: {told(error, self._kafka.librdkafka.values())}. "
                    "Nothing is lost: their offsets are not committed."
                ) from None
        return self._producer
