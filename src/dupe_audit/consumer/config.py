"""A consumer's configuration: frozen facts, read from one TOML file by ``reading``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dupe_audit.model import UniqueKey

#: turns a JSON value into one that the writer accepts; raises Poison
Converter = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """A column to write, and the event's field that it is read from."""

    name: str
    path: tuple[str, ...]  #: the field's name, or the names that lead into nested objects
    type: str
    convert: Converter
    required: bool = True
    default: Any = None  #: already converted; replaces a missing or null field


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """Where rows are written."""

    key: UniqueKey
    ignore: tuple[str, ...] = ()
    rollout: bool = False  #: ready even while the constraint does not exist yet

    @property
    def needs_arbiter(self) -> bool:
        """Whether to refuse a table without an arbiter: without one, an expression is not looked up at all."""
        return not self.key.is_plain and not self.rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """Where events come from."""

    brokers: str  #: separated by commas
    group: str
    topics: tuple[str, ...]
    start: Literal["earliest", "latest", "error"] = "earliest"
    instance_id: str | None = None
    librdkafka: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """How to reach the database; times in milliseconds."""

    url: str | None = None  #: None: the URL comes from the command line
    connect_timeout: int = 5_000
    statement_timeout: int = 30_000
    lock_timeout: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How many events form one transaction; times in milliseconds."""

    rows: int = 500
    linger: int = 200
    shutdown: int = 8_000  #: how long a batch may still take after a signal


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """Which events are accepted."""

    extra: Literal["ignore", "reject"] = "ignore"
    tombstones: Literal["skip", "dlq"] = "skip"
    collisions: Literal["count", "dlq"] = "count"
    max_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """How many rejected events stop the process."""

    share: float = 0.10
    window: int = 1000  #: events per topic
    minimum: int = 20  #: rejected events


@dataclass(frozen=True, slots=True, kw_only=True)
class DlqSettings:
    """Where rejected events go."""

    topic: str = "{topic}-dlq"
    timeout: int = 30_000  #: milliseconds
    attempts: int = 3
    replay_group: str

    def topic_of(self, topic: str) -> str:
        """Return the topic for the dead letters of *topic*."""
        return self.topic.replace("{topic}", topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where metrics and health are served."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 9464
    stuck_after: int = 60_000  #: milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything in one configuration file."""

    table: TableSettings
    columns: tuple[ColumnMapping, ...]
    kafka: KafkaSettings
    dlq: DlqSettings
    database: DatabaseSettings = DatabaseSettings()
    batch: BatchSettings = BatchSettings()
    events: EventSettings = EventSettings()
    breaker: BreakerSettings = BreakerSettings()
    http: HttpSettings = HttpSettings()
