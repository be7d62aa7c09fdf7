"""The consumer's metrics, in their own registry."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dupe_audit.consumer.partitions import Partition
from dupe_audit.writer import Arbiter

_PREFIX = "dupe_audit_consumer_"
_MODES = ("named", "columns", "any")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_EVENTS = (1, 5, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)


class Metrics:
    """The counters, gauges and histograms of one consumer, documented in docs/reference/consumer-metrics.md."""

    def __init__(self, *, version: str, group: str) -> None:
        self.registry = CollectorRegistry()
        self._with_lag: set[Partition] = set()
        self.inserted = self._counter("inserted", "Events that became a row")
        self.duplicates = self._counter("duplicates", "Events whose row already existed")
        self.in_batch = self._counter("in_batch_duplicates", "Duplicates of an event in the same batch")
        self.collisions = self._counter("collisions", "Events whose key already existed with other data")
        self.rejected = self._counter("rejected", "Events that cannot become a row", "reason", "sqlstate")
        self.tombstones = self._counter("tombstones", "Messages without a value that were skipped")
        self.dlq = self._counter("dlq_messages", "Dead letters that the broker has acknowledged", "topic")
        self.retries = self._counter("database_retries", "Transactions that were retried", "sqlstate")
        self.commit_errors = self._counter("commit_errors", "Offset commits that the broker refused", "code")
        self.kafka_errors = self._counter("kafka_errors", "Other errors that the Kafka client reported", "code")
        self.rebalances = self._counter("rebalances", "Changes of the assigned partitions", "kind")
        self.batch_seconds = Histogram(
            f"{_PREFIX}batch_seconds",
            "Seconds from collecting a batch to committing its offsets",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_events = Histogram(
            f"{_PREFIX}batch_events", "Events per batch", buckets=_EVENTS, registry=self.registry
        )
        self.lag = self._gauge(
            "lag", "Events between the position and the end of an assigned partition", "topic", "partition"
        )
        self.assigned = self._gauge("assigned_partitions", "Partitions assigned to this process")
        self.database_up = self._gauge("database_up", "1, or 0 while the database is unreachable")
        self.arbiter = self._gauge("arbiter", "1 for the current mode", "mode")
        self.last_commit = self._gauge(
            "last_commit_timestamp_seconds", "When offsets were last committed, in Unix time"
        )
        self.ready = self._gauge("ready", "1 if /readyz answers 200")
        self._gauge("info", "Always 1", "version", "group").labels(version, group).set(1)
        for kind in ("assigned", "revoked", "lost"):
            self.rebalances.labels(kind)

    def set_arbiter(self, arbiter: Arbiter) -> None:
        """Set the arbiter's mode."""
        for mode in _MODES:
            self.arbiter.labels(mode).set(mode == arbiter.mode)

    def set_lag(self, topic: str, partition: int, events: int) -> None:
        """Set how far behind a partition is."""
        self._with_lag.add((topic, partition))
        self.lag.labels(topic, str(partition)).set(events)

    def remove_lag(self, partitions: Iterable[Partition]) -> None:
        """Remove the lag of partitions that are no longer assigned to this process."""
        for topic, partition in partitions:
            if (topic, partition) in self._with_lag:
                self._with_lag.discard((topic, partition))
                self.lag.remove(topic, str(partition))

    def take_retries(self, retries: collections.Counter[str]) -> None:
        """Add the retries counted since the last call, by SQLSTATE, and clear *retries*."""
        for sqlstate, count in retries.items():
            self.retries.labels(sqlstate).inc(count)
        retries.clear()

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}{name}", description, labels, registry=self.registry)

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}{name}", description, labels, registry=self.registry)
