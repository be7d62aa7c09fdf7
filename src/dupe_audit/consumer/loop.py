"""The loop: poll, check, write, dead-letter, commit. In this order, no event is committed before it is stored."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from typing import Any

from confluent_kafka import Message

from dupe_audit.consumer.batch import EventBatch
from dupe_audit.consumer.breaker import Breaker
from dupe_audit.consumer.config import Config
from dupe_audit.consumer.database import Database
from dupe_audit.consumer.dlq import DeadLetters, make_letter
from dupe_audit.consumer.events import Decoder
from dupe_audit.consumer.health import Health
from dupe_audit.consumer.logs import log_event
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.consumer.source import Source
from dupe_audit.consumer.stop import Abandoned, Stop
from dupe_audit.writer import Arbiter, Outcome, Unavailable

#: seconds before the first and, at most, before every later try to reach the database again
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

#: seconds between two probes of the table while no events arrive
PROBE_EVERY = 5.0

#: longest wait for events in seconds, as librdkafka's wait does not end on a signal
LONGEST_POLL = 0.2


class Loop:
    """One running consumer. ``run`` returns when a stop is requested, or when a replay is complete."""

    def __init__(
        self,
        config: Config,
        database: Database,
        source: Source,
        dlq: DeadLetters,
        *,
        metrics: Metrics,
        health: Health,
        stop: Stop,
        version: str,
        replay: bool = False,
    ) -> None:
        self._config, self._database, self._source, self._dlq = config, database, source, dlq
        self._metrics, self._health, self._stop, self._version = metrics, health, stop, version
        self._replay = replay
        self._decode = Decoder(config.columns, config.events)
        self._breaker = Breaker(config.breaker)
        self._pending: list[Message[Any, Any]] = []  #: polled during a wait; processed by the next iterations
        self._probed_at = 0.0
        self._down_since: float | None = None
        self._arbiter: Arbiter | None = None
        self.totals: Counter[str] = Counter()  #: events by outcome

    def run(self) -> None:
        """Iterate until a stop is requested.

        Raises:
            Abandoned: a signal arrived, and the current batch took too long.
            DupeAuditError: continuing would lose events, or repeat the error for each event.
        """
        while not self._stop and not (self._replay and self._source.finished()):
            self._iterate()

    def probe(self) -> None:
        """Check that the database answers, and what keeps the key unique; an idle consumer would not notice otherwise.

        Raises:
            Abandoned: a signal arrived, and the database did not answer.
            DupeAuditError: no row could ever be written.
        """
        try:
            with self._stop.interruptible():
                self._on_database_up(self._database.probe())
        except Unavailable as unavailable:
            self._on_database_down(unavailable)

    def _iterate(self) -> None:
        self._health.beat()
        messages = self._collect()
        if self._replay:  # dead letters that this replay has written are left for the next replay
            messages = [
                message
                for message in messages
                if not (self._source.is_beyond_end(message) or self._dlq.has_sent(message))
            ]
        if messages:
            self._process(messages)
        else:
            self._source.commit({}, self._heartbeat)
        if time.monotonic() > self._probed_at + PROBE_EVERY:
            self.probe()
            self._source.update_lag()

    def _collect(self) -> list[Message[Any, Any]]:
        """Return a batch of messages of owned partitions: full, or what arrived within the linger time."""
        rows, deadline = self._config.batch.rows, time.monotonic() + self._config.batch.linger / 1000
        self._drop_unowned()
        messages, self._pending = self._pending[:rows], self._pending[rows:]
        lingering = True
        while lingering and len(messages) < rows:
            remaining = deadline - time.monotonic()
            # Decided before the poll, which then returns whatever arrived before a signal.
            lingering = remaining > LONGEST_POLL and not self._stop
            wait = 0.0 if self._stop else max(0.0, min(remaining, LONGEST_POLL))
            messages += self._source.poll(rows - len(messages), wait)
            # This poll may have revoked a partition whose earlier messages are in the list.
            messages = [message for message in messages if self._source.owns(message)]
            self._health.beat()
        return messages

    def _process(self, messages: list[Message[Any, Any]]) -> None:
        started = time.monotonic()
        batch = EventBatch(messages, self._decode, self._config.events)
        batch.record(self._write(batch))
        if not self._replay:
            self._breaker.check(batch.counts_by_topic())
        letters = [
            make_letter(message, rejection, self._letter_topic(message.topic() or ""), self._version)
            for message, rejection in batch.rejected()
        ]
        self._dlq.send(letters, self._heartbeat, self._wait)
        self._source.resume()
        self._source.commit(batch.offsets(), self._heartbeat)
        self._report(batch)
        self._metrics.batch_seconds.observe(time.monotonic() - started)

    def _write(self, batch: EventBatch) -> list[Outcome]:
        """Write the rows of the batch, however long the database is unreachable; keep the partitions meanwhile."""
        pause = FIRST_PAUSE
        while True:
            try:
                rows = batch.rows()
                with self._stop.interruptible():
                    outcomes = self._database.write(rows) if rows else []
                    arbiter = self._database.arbiter if rows else None
            except Unavailable as unavailable:
                self._on_database_down(unavailable)
            else:
                if arbiter is not None:
                    self._on_database_up(arbiter)
                self._source.resume()
                return outcomes
            self._wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            pause = min(2 * pause, LONGEST_PAUSE)
            batch.keep_owned(self._source.owned)
            self._drop_unowned()

    def _drop_unowned(self) -> None:
        """Drop all pending messages of lost partitions at once.

        If some of them stayed, they would be committed once the partition is assigned again, which would skip the
        messages that were dropped.
        """
        self._pending = [message for message in self._pending if self._source.owns(message)]

    def _wait(self, seconds: float) -> None:
        """Wait with every partition paused, and keep polling: a member that does not poll loses its partitions.

        Raises:
            Abandoned: a stop was requested; the current batch is read again at the next start.
        """
        self._source.pause()
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            self._heartbeat(grace=False)
            self._pending += self._source.poll(1, min(remaining, LONGEST_POLL))

    def _heartbeat(self, *, grace: bool = True) -> None:
        self._health.beat()
        if self._stop.overdue or (self._stop and not grace):
            raise Abandoned

    def _on_database_down(self, unavailable: Unavailable) -> None:
        self._health.database_up = False
        self._metrics.database_up.set(0)
        self._metrics.take_retries(self._database.retries)
        if self._down_since is None:
            self._down_since = time.monotonic()
        log_event("database_away", level=logging.WARNING, sqlstate=unavailable.sqlstate, message=str(unavailable))
        self._probed_at = time.monotonic()

    def _on_database_up(self, arbiter: Arbiter) -> None:
        self._probed_at = time.monotonic()
        self._health.database_up, self._health.enforced = True, arbiter.enforced
        self._metrics.database_up.set(1)
        self._metrics.take_retries(self._database.retries)
        if self._down_since is not None:
            log_event("database_back", seconds=round(time.monotonic() - self._down_since, 1))
            self._down_since = None
        if self._arbiter is None or arbiter.mode != self._arbiter.mode:
            log_event("arbiter", level=logging.INFO if arbiter.enforced else logging.WARNING, mode=arbiter.mode)
            self._metrics.set_arbiter(arbiter)
        self._arbiter = arbiter

    def _letter_topic(self, topic: str) -> str:
        return topic if self._replay else self._config.dlq.topic_of(topic)

    def _report(self, batch: EventBatch) -> None:
        """Count the outcomes of a batch in the metrics and the totals, and log those worth a line."""
        counts, metrics, table = batch.counts, self._metrics, str(self._config.table.key.table)
        metrics.inserted.inc(counts["inserted"])
        metrics.duplicates.inc(counts["duplicate"])
        metrics.in_batch.inc(counts["in_batch"])
        metrics.collisions.inc(counts["collision"])
        metrics.tombstones.inc(batch.skipped)
        rejections = [rejection for _message, rejection in batch.rejected()]
        for rejection in rejections:
            metrics.rejected.labels(rejection.reason, rejection.sqlstate or "").inc()
        metrics.batch_events.observe(len(batch.items))  # last, so that what it sums up has been counted
        self._source.update_lag()
        self.totals += Counter(read=len(batch.items), rejected=len(rejections))
        self.totals += Counter({kind: count for kind, count in counts.items() if kind != "rejected"})
        if prevented := counts["duplicate"] + counts["in_batch"]:
            log_event(
                "duplicates_prevented",
                count=prevented,
                in_batch=counts["in_batch"],
                inserted=counts["inserted"],
                table=table,
            )
        if counts["collision"]:
            log_event("collisions", level=logging.WARNING, count=counts["collision"], table=table)
        if rejections:
            reasons = Counter(rejection.reason for rejection in rejections)
            log_event("dead_lettered", level=logging.WARNING, count=len(rejections), reasons=dict(reasons))
