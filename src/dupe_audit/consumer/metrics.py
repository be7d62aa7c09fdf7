"""What is counted, in a registry of the consumer's own."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dupe_audit.writer import Arbiter

_PREFIX = "dupe_audit_consumer_"
MODES = ("named", "columns", "any")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_EVENTS = (1, 5, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)


class Metrics:
    """The counters and gauges of one consumer; their meaning is in the reference."""

    def __init__(self, *, version: str, group: str) -> None:
        self.registry = CollectorRegistry()
        self._lags: set[tuple[str, int]] = set()
        self.inserted = self._counter("inserted", "Events that became a row")
        self.duplicates = self._counter("duplicates", "Events whose row was there already")
        self.in_batch = self._counter("in_batch_duplicates", "Duplicates of an event of the same batch")
        self.collisions = self._counter("collisions", "Events whose key was there with other data")
        self.rejected = self._counter("rejected", "Events that cannot become a row", "reason", "sqlstate")
        self.tombstones = self._counter("tombstones", "Messages without a value that were skipped")
        self.dlq = self._counter("dlq_messages", "Dead letters that the broker acknowledged", "topic")
        self.retries = self._counter("database_retries", "Transactions that were tried again", "sqlstate")
        self.commit_errors = self._counter("commit_errors", "Offsets that the broker did not take", "code")
        self.kafka_errors = self._counter("kafka_errors", "Other errors that the Kafka client reported", "code")
        self.rebalances = self._counter("rebalances", "Changes of the assigned partitions", "kind")
        self.batch_seconds = Histogram(
            f"{_PREFIX}batch_seconds",
            "From the first event of a batch at hand to its offsets committed",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_events = Histogram(
            f"{_PREFIX}batch_events", "Events in a batch", buckets=_EVENTS, registry=self.registry
        )
        self.lag = self._gauge("lag", "Events behind the end of an assigned partition", "topic", "partition")
        self.assigned = self._gauge("assigned_partitions", "Partitions of this process")
        self.database_up = self._gauge("database_up", "1, or 0 while the database is away")
        self.arbiter = self._gauge("arbiter", "1 for the mode at hand", "mode")
        self.last_commit = self._gauge("last_commit_timestamp_seconds", "When offsets were last committed")
        self.ready = self._gauge("ready", "1 where /readyz says so")
        self._gauge("info", "Always 1", "version", "group").labels(version, group).set(1)
        for kind in ("assigned", "revoked", "lost"):
            self.rebalances.labels(kind)

    def count_arbiter(self, arbiter: Arbiter) -> None:
        """Note what keeps the key unique."""
        for mode in MODES:
            self.arbiter.labels(mode).set(mode == arbiter.mode)

    def forget(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Drop the lag of partitions that are no longer ours."""
        for topic, partition in partitions:
            if (topic, partition) in self._lags:
                self._lags.discard((topic, partition))
                self.lag.remove(topic, str(partition))

    def count_lag(self, topic: str, partition: int, events: int) -> None:
        """Note how far behind a partition is."""
        self._lags.add((topic, partition))
        self.lag.labels(topic, str(partition)).set(events)

    def count_retries(self, retries: Tally[str]) -> None:
        """Take over what was counted since the last time."""
        for sqlstate, times in retries.items():
            self.retries.labels(sqlstate).inc(times)
        retries.clear()

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}{name}", meaning, labels, registry=self.registry)
