"""What a consumer is told to do: frozen facts, read from one TOML file by ``reading``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dupe_audit.model import UniqueKey

#: turns a value of JSON into one that the writer takes; raises Poison
Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that is written, and the field that it is read from."""

    name: str
    path: tuple[str, ...]  #: the field's name, or the names on the way into nested objects
    type: str
    convert: Convert
    required: bool = True
    default: Any = None  #: as converted; stands for a field that is missing or null


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRule:
    """Where rows go."""

    key: UniqueKey
    ignore: tuple[str, ...] = ()
    rollout: bool = False  #: ready although the constraint is not there yet


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRule:
    """Where events come from."""

    brokers: str  #: with commas
    group: str
    topics: tuple[str, ...]
    start: Literal["earliest", "latest", "error"] = "earliest"
    instance_id: str | None = None
    librdkafka: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRule:
    """How to reach the database; times in milliseconds."""

    url: str | None = None  #: None: as the command line says
    connect_timeout: int = 5_000
    statement_timeout: int = 30_000
    lock_timeout: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRule:
    """How many events make a transaction; times in milliseconds."""

    rows: int = 500
    linger: int = 200
    shutdown: int = 8_000  #: what a batch may still take after a signal


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRule:
    """What is let through."""

    extra: Literal["ignore", "reject"] = "ignore"
    tombstones: Literal["skip", "dlq"] = "skip"
    collisions: Literal["count", "dlq"] = "count"
    max_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRule:
    """When the events are hardly at fault."""

    share: float = 0.10
    window: int = 1000  #: events of a topic
    minimum: int = 20  #: rejected events


@dataclass(frozen=True, slots=True, kw_only=True)
class DlqRule:
    """Where rejected events go."""

    topic: str = "{topic}-dlq"
    timeout: int = 30_000  #: milliseconds
    attempts: int = 3
    replay_group: str

    def topic_of(self, topic: str) -> str:
        """Return the topic for dead letters of *topic*."""
        return self.topic.replace("{topic}", topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRule:
    """Where metrics and health are served."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 9464
    stuck_after: int = 60_000  #: milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that one file says."""

    table: TableRule
    columns: tuple[Column, ...]
    kafka: KafkaRule
    dlq: DlqRule
    database: DatabaseRule = DatabaseRule()
    batch: BatchRule = BatchRule()
    events: EventRule = EventRule()
    breaker: BreakerRule = BreakerRule()
    http: HttpRule = HttpRule()
