"""Settings of librdkafka: which may be passed through, and what the consumer and the producer get."""

from __future__ import annotations

from collections.abc import Mapping

from dupe_audit.consumer.config import DlqRule, KafkaRule
from dupe_audit.consumer.sections import Section

#: settings that are not for the file to make, and why
REFUSED = {
    **dict.fromkeys(
        ("enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store"),
        "offsets are committed when the events are written, and not before",
    ),
    "auto.offset.reset": 'write kafka.start, so that "latest", which passes over events, is said on purpose',
    "isolation.level": "events of aborted transactions are not written",
    "enable.partition.eof": "the replay of dead letters sets it",
    **dict.fromkeys(
        ("partition.assignment.strategy", "group.protocol", "group.remote.assignor"),
        "the handling of rebalances depends on cooperative-sticky",
    ),
    **dict.fromkeys(("bootstrap.servers", "metadata.broker.list"), "write kafka.brokers"),
    "group.id": "write kafka.group",
    "group.instance.id": "write kafka.instance_id",
    **dict.fromkeys(
        ("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"),
        "a dead letter counts as delivered when all replicas have it",
    ),
    **dict.fromkeys(("message.timeout.ms", "delivery.timeout.ms"), "write dlq.timeout"),
    "transactional.id": "no transactions are needed: the key makes redelivery harmless",
}

#: what only a consumer has; the producer would complain about each
_CONSUMERS = ("session.", "heartbeat.", "max.poll.", "queued.", "fetch.", "check.crcs", "max.partition.fetch.")
_PRODUCERS = ("queue.buffering.", "linger.ms", "batch.", "compression.", "retries", "retry.backoff.", "sticky.")


def checked(section: Section) -> dict[str, str]:
    """Return the settings of a file's section as librdkafka wants them: strings.

    Raises:
        WrongUsage: one would break a promise, or is none of librdkafka's types.
    """
    settings = {}
    for name in section.names():
        value = section.raw(name)
        if name in REFUSED:
            section.fail(name, f"{name!r} cannot be set here: {REFUSED[name]}.")
        if isinstance(value, dict):
            section.fail(name, f'names of librdkafka have dots, so they need quotes: "{name}.…" = ….')
        if not isinstance(value, (str, int, float)):
            section.fail(name, f"{name!r} is a string, a number, true or false.")
        settings[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return settings


def for_consumer(rule: KafkaRule) -> dict[str, str]:
    """Return the consumer's settings."""
    reset = {"earliest": "earliest", "latest": "latest", "error": "error"}[rule.start]
    settings = {
        "queued.max.messages.kbytes": "65536",  # memory stays flat, however far behind the group is
        "client.id": "dupe-audit",
        "allow.auto.create.topics": "false",
        **_without(rule.librdkafka, _PRODUCERS),
        "bootstrap.servers": rule.brokers,
        "group.id": rule.group,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "auto.offset.reset": reset,
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
    }
    return settings | ({"group.instance.id": rule.instance_id} if rule.instance_id else {})


def for_producer(kafka: KafkaRule, dlq: DlqRule) -> dict[str, str]:
    """Return the settings of the producer of dead letters."""
    return {
        "client.id": "dupe-audit-dlq",
        "linger.ms": "5",
        # What was taken from the broker has to fit back, with headers; the broker has the last word.
        "message.max.bytes": "104857600",
        **_without(kafka.librdkafka, _CONSUMERS),
        "bootstrap.servers": kafka.brokers,
        "acks": "all",
        "enable.idempotence": "true",
        "delivery.timeout.ms": str(dlq.timeout),
    }


def _without(settings: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if not name.startswith(prefixes)}
