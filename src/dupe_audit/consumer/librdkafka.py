"""Settings of librdkafka: which may be passed through, and what the consumer and the producer get."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dupe_audit.consumer.config import DlqRule, KafkaRule
from dupe_audit.consumer.sections import Section

if TYPE_CHECKING:  # the file can be read without the extra
    from confluent_kafka import KafkaException

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

#: mechanisms whose ticket or token is fetched as soon as there is a client
_AT_ONCE = {"GSSAPI", "OAUTHBEARER"}


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


def tried(section: Section, kafka: KafkaRule, dlq: DlqRule) -> None:
    """Let librdkafka object to the settings of a file's section, for the consumer and for the producer.

    Nothing is connected to, and no certificate is read: what is not on this machine may be on another.

    Raises:
        WrongUsage: it does not take them.
    """
    try:
        import confluent_kafka  # noqa: F401 - the start says how to install it
    except ImportError:
        return
    if (objection := _objection(kafka, dlq)) is None:
        return
    named = (name for name in kafka.librdkafka if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", objection))
    # librdkafka may say another name of the same setting; alone it then gets the same objection.
    alone = (
        name
        for name, value in kafka.librdkafka.items()
        if _objection(replace(kafka, librdkafka={name: value}), dlq) == objection
    )
    section.fail(next(named, None) or next(alone, None), f"librdkafka does not take the settings: {objection}")


def _objection(kafka: KafkaRule, dlq: DlqRule) -> str | None:
    """Return what librdkafka objects to, without any value, or None."""
    from confluent_kafka import Consumer, KafkaException, Producer

    quiet = logging.Logger("librdkafka")  # noqa: LOG001 - nobody is to hear it, and the start says the same
    quiet.disabled = True
    try:
        Consumer(_at_rest(for_consumer(kafka)), logger=quiet).close()
        Producer(_at_rest(for_producer(kafka, dlq)), logger=quiet).flush(0)
    except KafkaException as error:
        return told(error, kafka.librdkafka.values())
    except (TypeError, AttributeError, ValueError):
        return "one of them cannot be made in a file."  # such as error_cb, which is a function
    return None


def _at_rest(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return settings with which a client connects to nothing and reads no files."""
    rest = {
        name: value for name, value in settings.items() if name not in ("bootstrap.servers", "plugin.library.paths")
    }
    protocol = rest.get("security.protocol", "").lower()
    mechanisms = {rest[name] for name in ("sasl.mechanism", "sasl.mechanisms") if name in rest} or {"GSSAPI"}
    if protocol == "ssl" or (protocol.startswith("sasl_") and mechanisms & _AT_ONCE):
        rest["security.protocol"] = "plaintext"
    elif protocol == "sasl_ssl":
        rest["security.protocol"] = "sasl_plaintext"
    return rest


def told(error: KafkaException, values: Iterable[str] = ()) -> str:
    """Return what librdkafka objects to, in one line, without the values, which may be secrets."""
    said = error.args[0].str()
    said = re.sub(r'value ".*" for', "value for", said, flags=re.DOTALL)
    said = re.sub(r"dlopen\(\) failed: .*", "a plugin of plugin.library.paths cannot be loaded", said, flags=re.DOTALL)
    said = re.sub(r"value -?\d+ is", "value is", said)
    for value in sorted(filter(_telling, values), key=len, reverse=True):
        # A plain word may be a part of a setting's name, which is to be read.
        word = re.fullmatch(r"[a-z0-9.]+", value)
        pattern = rf"(?<![\w.]){re.escape(value)}(?!\w|\.[\w.])" if word else re.escape(value)
        said = re.sub(pattern, "…", said)
    return " ".join(said.split())


def _telling(value: str) -> bool:
    """Tell whether a value may be a secret, rather than a flag or a small number, which librdkafka's text has too."""
    return bool(value.strip()) and value not in ("true", "false") and not re.fullmatch(r"-?\d{1,3}", value)


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
