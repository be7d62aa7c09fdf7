"""Read a consumer's file; say what is wrong with it, with the line."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dupe_audit.consumer import librdkafka
from dupe_audit.consumer.config import (
    BatchRule,
    BreakerRule,
    Column,
    Config,
    DatabaseRule,
    DlqRule,
    EventRule,
    HttpRule,
    KafkaRule,
    TableRule,
)
from dupe_audit.consumer.fields import TYPES, Exact, Poison
from dupe_audit.consumer.sections import Section, Source
from dupe_audit.errors import WrongUsage
from dupe_audit.model import UniqueKey


def read(file: str | Path, environment: Mapping[str, str]) -> Config:
    """Return what *file* says, with the variables of *environment* put in.

    Raises:
        WrongUsage: it cannot be read, or says something that makes no sense; the message names the line.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise WrongUsage(f"{file} cannot be read: {why}.") from None
    source = Source(str(file), text)
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        line = f", line {place[1]}" if place else ""
        why = str(error).split(" (at ")[0]
        raise WrongUsage(f"{file}{line}: this is not TOML. {why}.") from None
    return _config(Section(source, source.filled(told, environment), ()))


def _config(root: Section) -> Config:
    listed = root.within("columns")
    if not listed.names():
        root.fail(None, "[columns] needs at least the columns of the key.")
    columns = tuple(_column(listed, name) for name in listed.names())
    kafka = _kafka(root.within("kafka"))
    config = Config(
        table=_table(root.within("table"), columns),
        columns=columns,
        kafka=kafka,
        dlq=_dlq(root.within("dlq"), kafka),
        database=_database(root.within("database")),
        batch=_batch(root.within("batch")),
        events=_events(root.within("events")),
        breaker=_breaker(root.within("breaker")),
        http=_http(root.within("http")),
    )
    root.close("columns", "dlq", "database", "batch", "events", "breaker", "http")
    librdkafka.tried(root.within("kafka").within("librdkafka"), config.kafka, config.dlq)
    return config


def _column(section: Section, name: str) -> Column:
    one = section.within(name)
    kind = one.choice("type", tuple(TYPES))
    convert = TYPES[kind]
    path = one.texts("field", (name,))
    if not path:
        one.fail("field", f"the field of column {name!r} is a name, or a path of at least one.")
    default = one.raw("default")
    if default is not None:
        if not _finite(default):
            one.fail("default", f"the default of column {name!r} holds inf or nan, which JSON does not have.")
        try:
            default = convert(Exact.read(repr(default)) if isinstance(default, float) else default)
        except (Poison, TypeError) as error:
            one.fail("default", f"the default of column {name!r} is not of type {kind}: {error}.")
    required = one.flag("required", default is None)
    if required and default is not None:
        one.fail("required", f"column {name!r} has a default, so its field cannot be required.")
    one.close()
    return Column(name=name, path=path, type=kind, convert=convert, required=required, default=default)


def _finite(value: Any) -> bool:
    """Tell whether every number in a value is one; TOML has inf and nan, in which no event can come."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _table(section: Section, columns: tuple[Column, ...]) -> TableRule:
    named = {column.name: column for column in columns}
    for place in ("key", "ignore"):
        for name in section.texts(place, ()):
            if name not in named:
                section.fail(place, f"column {name!r} is not in [columns].{Section.meant(name, named)}")
    for name in section.texts("key"):
        if not named[name].required and named[name].default is None:
            section.fail(
                "key",
                f"column {name!r} has required = false. A key with NULL is equal to none, "
                "so that each delivery would be another row.",
            )
    try:
        rule = TableRule(
            key=UniqueKey(
                table=section.text("name"),
                schema=section.text("schema", None),
                columns=section.texts("key"),
                name=section.text("constraint", None),
            ),
            ignore=section.texts("ignore", ()),
            rollout=section.flag("rollout", False),
        )
    except WrongUsage as error:
        if str(error).startswith(section.source.file):
            raise
        section.fail(None, str(error))
    section.close()
    return rule


def _kafka(section: Section) -> KafkaRule:
    brokers = section.texts("brokers")
    rule = KafkaRule(
        brokers=",".join(brokers),
        group=section.text("group"),
        topics=section.texts("topics"),
        start=section.choice("start", ("earliest", "latest", "error"), "earliest"),
        instance_id=section.text("instance_id", None),
        librdkafka=librdkafka.checked(section.within("librdkafka")),
    )
    if not all(rule.topics) or not rule.topics or not brokers or not rule.group:
        section.fail(None, "brokers, group and topics cannot be empty.")
    for topic in rule.topics:
        if topic.startswith("^"):
            # librdkafka would subscribe to all that match, which may be the topics of dead letters as well.
            section.fail("topics", f"{topic!r} is no name of a topic, and regular expressions are not taken.")
    section.close("librdkafka")
    return rule


def _dlq(section: Section, kafka: KafkaRule) -> DlqRule:
    usual = DlqRule(replay_group=f"{kafka.group}-replay")
    rule = DlqRule(
        topic=section.text("topic", usual.topic),
        timeout=section.duration("timeout", usual.timeout, low=1_000),
        attempts=section.whole("attempts", usual.attempts, 1, 100),
        replay_group=section.text("replay_group", usual.replay_group),
    )
    if rule.topic.startswith("^"):
        section.fail("topic", f"{rule.topic!r} is no name of a topic, and regular expressions are not taken.")
    if set(map(rule.topic_of, kafka.topics)) & set(kafka.topics):
        section.fail("topic", "dead letters would go to a topic that they come from.")
    if rule.replay_group == kafka.group:
        section.fail("replay_group", "the replay needs a group other than the consumer's.")
    patience = kafka.librdkafka.get("max.poll.interval.ms", "300000")
    if patience.isdecimal() and rule.timeout >= int(patience):
        section.fail(
            "timeout",
            f"dlq.timeout, {rule.timeout} ms, has to be shorter than max.poll.interval.ms, {patience}: "
            "the partitions would be lost meanwhile.",
        )
    section.close()
    return rule


def _database(section: Section) -> DatabaseRule:
    usual = DatabaseRule()
    rule = DatabaseRule(
        url=section.text("url", None),
        connect_timeout=section.duration("connect_timeout", usual.connect_timeout, low=1_000),
        statement_timeout=section.duration("statement_timeout", usual.statement_timeout, low=100),
        lock_timeout=section.duration("lock_timeout", usual.lock_timeout, low=10),
    )
    section.close()
    return rule


def _batch(section: Section) -> BatchRule:
    usual = BatchRule()
    rule = BatchRule(
        rows=section.whole("rows", usual.rows, 1, 10_000),
        linger=section.duration("linger", usual.linger, low=1, high=30_000),
        shutdown=section.duration("shutdown", usual.shutdown, low=100),
    )
    section.close()
    return rule


def _events(section: Section) -> EventRule:
    usual = EventRule()
    rule = EventRule(
        extra=section.choice("extra", ("ignore", "reject"), usual.extra),
        tombstones=section.choice("tombstones", ("skip", "dlq"), usual.tombstones),
        collisions=section.choice("collisions", ("count", "dlq"), usual.collisions),
        max_bytes=section.whole("max_bytes", usual.max_bytes, 1, 1 << 30),
    )
    section.close()
    return rule


def _breaker(section: Section) -> BreakerRule:
    usual = BreakerRule()
    rule = BreakerRule(
        share=section.share("share", usual.share),
        window=section.whole("window", usual.window, 1, 1_000_000),
        minimum=section.whole("minimum", usual.minimum, 1, 1_000_000),
    )
    section.close()
    return rule


def _http(section: Section) -> HttpRule:
    usual = HttpRule()
    rule = HttpRule(
        enabled=section.flag("enabled", usual.enabled),
        host=section.text("host", usual.host),
        port=section.whole("port", usual.port, 0, 65_535),
        stuck_after=section.duration("stuck_after", usual.stuck_after, low=1_000),
    )
    section.close()
    return rule
