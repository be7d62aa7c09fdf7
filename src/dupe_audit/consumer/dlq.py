"""Dead letters: rejected events, unchanged, with the reason. Nothing is committed before they are acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dupe_audit.consumer.config import DlqSettings, KafkaSettings
from dupe_audit.consumer.librdkafka import error_text, producer_settings
from dupe_audit.consumer.logs import librdkafka_log, log_event
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.consumer.partitions import Partition, offset_of, partition_of
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import quantity

PREFIX = "dupe-audit-"

Header = tuple[str, bytes | None]

#: seconds of one wait for acknowledgements, between two checks whether to stop
_FLUSH_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an event did not become a row, without any of its contents."""

    reason: str  #: one of the documented words
    message: str
    sqlstate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message for a dead-letter topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header]


def make_letter(message: Message[Any, Any], rejection: Rejection, topic: str, version: str) -> Letter:
    """Return the dead letter of a message: the message's own key, value and headers, and our headers.

    If the message is itself a dead letter, its original topic, partition, offset and timestamp are kept, and its
    attempts are counted.
    """
    headers = _headers(message)
    previous = {name: value for name, value in headers if name.startswith(PREFIX)}
    origin: dict[str, Any] = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
    }
    if f"{PREFIX}offset" in previous:
        origin = {name: previous.get(PREFIX + name, b"") for name in origin}
    added = origin | {
        "attempt": _attempts(previous.get(f"{PREFIX}attempt")) + 1,
        "reason": rejection.reason,
        "message": rejection.message,
        "sqlstate": rejection.sqlstate or "",
        "version": version,
    }
    return Letter(
        topic=topic,
        key=message.key(),
        value=message.value(),
        headers=[
            *((name, value) for name, value in headers if not name.startswith(PREFIX)),
            *(
                (PREFIX + name, value if isinstance(value, bytes) else str(value).encode())
                for name, value in added.items()
            ),
        ],
    )


def _attempts(value: bytes | None) -> int:
    """Return the number in a header, or 0: any producer may write anything under our names."""
    return int(value) if value is not None and len(value) <= 9 and value.isdigit() else 0


def _headers(message: Message[Any, Any]) -> list[Header]:
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


class DeadLetters:
    """Sends dead letters, and waits for the broker's acknowledgements."""

    def __init__(self, kafka: KafkaSettings, settings: DlqSettings, metrics: Metrics) -> None:
        self._kafka, self._settings, self._metrics = kafka, settings, metrics
        self._producer: Producer | None = None
        self._first_offsets: dict[Partition, int] = {}  #: of the letters that this process has sent

    def send(self, letters: Sequence[Letter], heartbeat: Callable[[], None], pause: Callable[[float], None]) -> None:
        """Return when all replicas have acknowledged every letter.

        Args:
            letters: the letters to send.
            heartbeat: called now and then while this waits; ends the wait by raising.
            pause: called with seconds between two attempts; ends the wait by raising.

        Raises:
            DupeAuditError: some letters could not be delivered; their events are still in the original topic.
        """
        unsent = list(letters)
        for attempt in range(1, self._settings.attempts + 1):
            unsent, error = self._attempt(unsent, heartbeat)
            if not unsent:
                return
            code = error.name() if error else "no answer in time"
            log_event("dead_letters_undelivered", level=logging.WARNING, count=len(unsent), code=code, attempt=attempt)
            if attempt < self._settings.attempts:
                pause(min(0.5 * 2 ** (attempt - 1), 5.0))
        count = quantity(len(unsent), "dead letter")
        attempts = quantity(self._settings.attempts, "attempt")
        raise DupeAuditError(
            f"{count} could not be delivered to {unsent[0].topic!r} in {attempts}: {code}. Check that the topic "
            "exists, that this user may write to it, and its max.message.bytes. "
            "Nothing is lost: the offsets are not committed."
        )

    def has_sent(self, message: Message[Any, Any]) -> bool:
        """Return whether a message was written to its partition with or after the first letter from this process."""
        first = self._first_offsets.get(partition_of(message))
        return first is not None and offset_of(message) >= first

    def close(self) -> None:
        """Drop the letters that are still queued."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(1)

    def _attempt(self, letters: list[Letter], heartbeat: Callable[[], None]) -> tuple[list[Letter], KafkaError | None]:
        """Send the letters once; return those that are not acknowledged, and the error of one of them."""
        producer = self._ready_producer()
        acknowledged: set[int] = set()
        errors: list[KafkaError] = []

        def delivered(number: int) -> Callable[[KafkaError | None, Message[Any, Any]], None]:
            def on_delivery(error: KafkaError | None, message: Message[Any, Any]) -> None:
                if error is None:
                    acknowledged.add(number)
                    self._record_offset(message)
                    self._metrics.dlq.labels(message.topic()).inc()
                else:
                    errors.append(error)

            return on_delivery

        for number, letter in enumerate(letters):
            while True:
                try:
                    producer.produce(
                        letter.topic,
                        letter.value,
                        letter.key,
                        headers=list(letter.headers),
                        on_delivery=delivered(number),
                    )
                    break
                except BufferError:  # the queue is full of earlier letters
                    producer.poll(_FLUSH_SECONDS)
                    heartbeat()
                except KafkaException as error:  # refused at once, such as a message that is too large
                    errors.append(error.args[0])
                    break
        # Slightly longer than librdkafka's own limit, so that librdkafka gives up first, and reports a reason.
        deadline = time.monotonic() + self._settings.timeout / 1000 + 2
        while producer.flush(_FLUSH_SECONDS) and time.monotonic() < deadline:
            heartbeat()
        if producer.flush(0):
            producer.purge()
            producer.flush(1)
        unsent = [letter for number, letter in enumerate(letters) if number not in acknowledged]
        return unsent, errors[0] if errors else None

    def _record_offset(self, message: Message[Any, Any]) -> None:
        partition, offset = partition_of(message), offset_of(message)
        if offset >= 0:  # a broker that already had the message may not report its offset
            self._first_offsets[partition] = min(offset, self._first_offsets.get(partition, offset))

    def _ready_producer(self) -> Producer:
        if self._producer is None:
            try:
                self._producer = Producer(producer_settings(self._kafka, self._settings), logger=librdkafka_log)
            except KafkaException as error:  # the settings were checked, but a certificate may be gone since
                raise DupeAuditError(
                    f"Dead letters cannot be sent: {error_text(error, self._kafka.librdkafka.values())}. "
                    "Nothing is lost: the offsets are not committed."
                ) from None
        return self._producer
