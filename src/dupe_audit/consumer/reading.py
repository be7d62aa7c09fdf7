"""Read a consumer's configuration file; an error names the line."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dupe_audit.consumer import librdkafka
from dupe_audit.consumer.config import (
    BatchSettings,
    BreakerSettings,
    ColumnMapping,
    Config,
    DatabaseSettings,
    DlqSettings,
    EventSettings,
    HttpSettings,
    KafkaSettings,
)
from dupe_audit.consumer.fields import TYPES, Exact, Poison
from dupe_audit.consumer.sections import ConfigFile, Section
from dupe_audit.consumer.table import read_table
from dupe_audit.errors import WrongUsage


def read(file: str | Path, environment: Mapping[str, str]) -> Config:
    """Return the configuration in *file*, with variables replaced from *environment*.

    Raises:
        WrongUsage: the file cannot be read, or has an error; the message names the line.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise WrongUsage(f"{file} cannot be read: {reason}.") from None
    config_file = ConfigFile(str(file), text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        line = f", line {match[1]}" if match else ""
        reason = str(error).split(" (at ")[0]
        raise WrongUsage(f"{file}{line}: the file is not valid TOML: {reason}.") from None
    return _config(Section(config_file, config_file.expand(values, environment), ()))


def _config(root: Section) -> Config:
    mappings = root.subsection("columns")
    if not mappings.names():
        root.fail(None, "[columns] must have at least the columns of the key.")
    columns = tuple(_column(mappings, name) for name in mappings.names())
    kafka = _kafka(root.subsection("kafka"))
    config = Config(
        table=read_table(root.subsection("table"), columns),
        columns=columns,
        kafka=kafka,
        dlq=_dlq(root.subsection("dlq"), kafka),
        database=_database(root.subsection("database")),
        batch=_batch(root.subsection("batch")),
        events=_events(root.subsection("events")),
        breaker=_breaker(root.subsection("breaker")),
        http=_http(root.subsection("http")),
    )
    root.reject_unknown("columns", "dlq", "database", "batch", "events", "breaker", "http")
    librdkafka.check_settings(root.subsection("kafka").subsection("librdkafka"), config.kafka, config.dlq)
    return config


def _column(mappings: Section, name: str) -> ColumnMapping:
    section = mappings.subsection(name)
    kind = section.choice("type", tuple(TYPES))
    convert = TYPES[kind]
    path = section.texts("field", (name,))
    if not path:
        section.fail("field", f"the field of column {name!r} must be a name, or a path of at least one name.")
    default = section.raw("default")
    if default is not None:
        if not _finite(default):
            section.fail("default", f"the default of column {name!r} contains inf or nan, which JSON does not allow.")
        try:
            default = convert(Exact.parse(repr(default)) if isinstance(default, float) else default)
        except (Poison, TypeError) as error:
            section.fail("default", f"the default of column {name!r} is not of type {kind}: {error}.")
    required = section.flag("required", default is None)
    if required and default is not None:
        section.fail("required", f"column {name!r} has a default, so its field cannot be required.")
    section.reject_unknown()
    return ColumnMapping(name=name, path=path, type=kind, convert=convert, required=required, default=default)


def _finite(value: Any) -> bool:
    """Return whether a value is free of inf and nan, which TOML allows and JSON does not."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _kafka(section: Section) -> KafkaSettings:
    brokers = section.texts("brokers")
    settings = KafkaSettings(
        brokers=",".join(brokers),
        group=section.text("group"),
        topics=section.texts("topics"),
        start=section.choice("start", ("earliest", "latest", "error"), "earliest"),
        instance_id=section.text("instance_id", None),
        librdkafka=librdkafka.read_settings(section.subsection("librdkafka")),
    )
    if not all(settings.topics) or not settings.topics or not brokers or not settings.group:
        section.fail(None, "brokers, group and topics cannot be empty.")
    for topic in settings.topics:
        if topic.startswith("^"):
            # librdkafka would subscribe to every matching topic, perhaps also to the dead-letter topics.
            section.fail("topics", f"{topic!r} is not a topic name; regular expressions are not supported.")
    section.reject_unknown("librdkafka")
    return settings


def _dlq(section: Section, kafka: KafkaSettings) -> DlqSettings:
    defaults = DlqSettings(replay_group=f"{kafka.group}-replay")
    settings = DlqSettings(
        topic=section.text("topic", defaults.topic),
        timeout=section.duration("timeout", defaults.timeout, low=1_000),
        attempts=section.integer("attempts", defaults.attempts, 1, 100),
        replay_group=section.text("replay_group", defaults.replay_group),
    )
    if settings.topic.startswith("^"):
        section.fail("topic", f"{settings.topic!r} is not a topic name; regular expressions are not supported.")
    if set(map(settings.topic_of, kafka.topics)) & set(kafka.topics):
        section.fail("topic", "dlq.topic: dead letters would go to a topic that events are read from. Name another.")
    if settings.replay_group == kafka.group:
        section.fail("replay_group", "dlq.replay_group: the replay needs a group other than the consumer's.")
    poll_interval = kafka.librdkafka.get("max.poll.interval.ms", "300000")
    if poll_interval.isdecimal() and settings.timeout >= int(poll_interval):
        section.fail(
            "timeout",
            f"dlq.timeout ({settings.timeout:,} ms) must be shorter than max.poll.interval.ms "
            f"({int(poll_interval):,} ms): the consumer would lose its partitions while it waits.",
        )
    section.reject_unknown()
    return settings


def _database(section: Section) -> DatabaseSettings:
    defaults = DatabaseSettings()
    settings = DatabaseSettings(
        url=section.text("url", None),
        connect_timeout=section.duration("connect_timeout", defaults.connect_timeout, low=1_000),
        statement_timeout=section.duration("statement_timeout", defaults.statement_timeout, low=100),
        lock_timeout=section.duration("lock_timeout", defaults.lock_timeout, low=10),
    )
    if settings.url is not None and not settings.url.strip():
        section.fail("url", "database.url is empty. Give a URL, or leave the name out.")
    section.reject_unknown()
    return settings


def _batch(section: Section) -> BatchSettings:
    defaults = BatchSettings()
    settings = BatchSettings(
        rows=section.integer("rows", defaults.rows, 1, 10_000),
        linger=section.duration("linger", defaults.linger, low=1, high=30_000),
        shutdown=section.duration("shutdown", defaults.shutdown, low=100),
    )
    section.reject_unknown()
    return settings


def _events(section: Section) -> EventSettings:
    defaults = EventSettings()
    settings = EventSettings(
        extra=section.choice("extra", ("ignore", "reject"), defaults.extra),
        tombstones=section.choice("tombstones", ("skip", "dlq"), defaults.tombstones),
        collisions=section.choice("collisions", ("count", "dlq"), defaults.collisions),
        max_bytes=section.integer("max_bytes", defaults.max_bytes, 1, 1 << 30),
    )
    section.reject_unknown()
    return settings


def _breaker(section: Section) -> BreakerSettings:
    defaults = BreakerSettings()
    settings = BreakerSettings(
        share=section.share("share", defaults.share),
        window=section.integer("window", defaults.window, 1, 1_000_000),
        minimum=section.integer("minimum", defaults.minimum, 1, 1_000_000),
    )
    section.reject_unknown()
    return settings


def _http(section: Section) -> HttpSettings:
    defaults = HttpSettings()
    settings = HttpSettings(
        enabled=section.flag("enabled", defaults.enabled),
        host=section.text("host", defaults.host),
        port=section.integer("port", defaults.port, 0, 65_535),
        stuck_after=section.duration("stuck_after", defaults.stuck_after, low=1_000),
    )
    section.reject_unknown()
    return settings
