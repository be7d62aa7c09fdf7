"""librdkafka settings: which ones a file may pass through, and what the consumer and the producer get."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dupe_audit.consumer.config import DlqSettings, KafkaSettings
from dupe_audit.consumer.sections import Section

if TYPE_CHECKING:  # a file can be read without the extra
    from confluent_kafka import KafkaException

#: settings that the file cannot make, and why
REFUSED = {
    **dict.fromkeys(
        ("enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store"),
        "offsets are committed only after the events are written",
    ),
    "auto.offset.reset": 'set kafka.start instead, so that "latest", which skips events, is a deliberate choice',
    "isolation.level": "events of aborted transactions must not be written",
    "enable.partition.eof": "the replay of dead letters sets it",
    **dict.fromkeys(
        ("partition.assignment.strategy", "group.protocol", "group.remote.assignor"),
        "the handling of rebalances depends on cooperative-sticky",
    ),
    **dict.fromkeys(("bootstrap.servers", "metadata.broker.list"), "set kafka.brokers instead"),
    "group.id": "set kafka.group instead",
    "group.instance.id": "set kafka.instance_id instead",
    **dict.fromkeys(
        ("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"),
        "a dead letter counts as delivered only when all replicas have it",
    ),
    **dict.fromkeys(("message.timeout.ms", "delivery.timeout.ms"), "set dlq.timeout instead"),
    "transactional.id": "no transactions are needed: the key makes redelivery harmless",
}

#: prefixes of settings that only a consumer has, or only a producer; the other would complain about them
_CONSUMER_ONLY = ("session.", "heartbeat.", "max.poll.", "queued.", "fetch.", "check.crcs", "max.partition.fetch.")
_PRODUCER_ONLY = ("queue.buffering.", "linger.ms", "batch.", "compression.", "retries", "retry.backoff.", "sticky.")

#: mechanisms whose ticket or token is fetched as soon as a client is created
_FETCHED_AT_CREATION = {"GSSAPI", "OAUTHBEARER"}


def read_settings(section: Section) -> dict[str, str]:
    """Return the settings in a file's section as strings, as librdkafka expects them.

    Raises:
        WrongUsage: a setting would break a guarantee, or its type is none of librdkafka's.
    """
    settings = {}
    for name in section.names():
        value = section.raw(name)
        if name in REFUSED:
            section.fail(name, f"{name!r} cannot be set here: {REFUSED[name]}.")
        if isinstance(value, dict):
            section.fail(name, f'names of librdkafka settings contain dots, so they need quotes: "{name}.…" = ….')
        if not isinstance(value, (str, int, float)):
            section.fail(name, f"{name!r} must be a string, a number, true or false.")
        settings[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return settings


def check_settings(section: Section, kafka: KafkaSettings, dlq: DlqSettings) -> None:
    """Let librdkafka check the settings in a file's section, for the consumer and for the producer.

    This connects to nothing and reads no certificates: a file may be checked on another machine.

    Raises:
        WrongUsage: librdkafka rejects them.
    """
    try:
        import confluent_kafka  # noqa: F401 - at the start an error says how to install it
    except ImportError:
        return
    if (objection := _objection(kafka, dlq)) is None:
        return
    mentioned = (name for name in kafka.librdkafka if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", objection))
    # librdkafka may mention another name of the same setting; that setting alone then causes the same objection.
    causes = (
        name
        for name, value in kafka.librdkafka.items()
        if _objection(replace(kafka, librdkafka={name: value}), dlq) == objection
    )
    section.fail(next(mentioned, None) or next(causes, None), f"librdkafka rejects the settings: {objection}")


def _objection(kafka: KafkaSettings, dlq: DlqSettings) -> str | None:
    """Return librdkafka's objection, without any value, or None."""
    from confluent_kafka import Consumer, KafkaException, Producer

    silent = logging.Logger("librdkafka")  # noqa: LOG001 - not for the log: the start logs the same
    silent.disabled = True
    try:
        Consumer(_offline(consumer_settings(kafka)), logger=silent).close()
        Producer(_offline(producer_settings(kafka, dlq)), logger=silent).flush(0)
    except KafkaException as error:
        return error_text(error, kafka.librdkafka.values())
    except (TypeError, AttributeError, ValueError):
        return "one of them cannot be set in a file."  # such as error_cb, which is a function
    return None


def _offline(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return settings with which a client connects to nothing and reads no files."""
    offline = {
        name: value for name, value in settings.items() if name not in ("bootstrap.servers", "plugin.library.paths")
    }
    protocol = offline.get("security.protocol", "").lower()
    names = ("sasl.mechanism", "sasl.mechanisms")
    mechanisms = {offline[name] for name in names if name in offline} or {"GSSAPI"}
    if protocol == "ssl" or (protocol.startswith("sasl_") and mechanisms & _FETCHED_AT_CREATION):
        offline["security.protocol"] = "plaintext"
    elif protocol == "sasl_ssl":
        offline["security.protocol"] = "sasl_plaintext"
    return offline


def error_text(error: KafkaException, values: Iterable[str] = ()) -> str:
    """Return librdkafka's error in one line, without *values*, which may be secrets."""
    text = error.args[0].str()
    text = re.sub(r'value ".*" for', "value for", text, flags=re.DOTALL)
    text = re.sub(
        r"dlopen\(\) failed: .*", "a plugin listed in plugin.library.paths cannot be loaded", text, flags=re.DOTALL
    )
    text = re.sub(r"value -?\d+ is", "value is", text)
    for value in sorted(filter(_may_be_secret, values), key=len, reverse=True):
        # A plain word may also be part of a setting's name, which has to stay readable.
        word = re.fullmatch(r"[a-z0-9.]+", value)
        pattern = rf"(?<![\w.]){re.escape(value)}(?!\w|\.[\w.])" if word else re.escape(value)
        text = re.sub(pattern, "…", text)
    return " ".join(text.split())


def _may_be_secret(value: str) -> bool:
    """Return whether a value may be a secret: not a flag or a small number, which also occur in librdkafka's texts."""
    return bool(value.strip()) and value not in ("true", "false") and not re.fullmatch(r"-?\d{1,3}", value)


def consumer_settings(kafka: KafkaSettings) -> dict[str, str]:
    """Return the consumer's settings."""
    reset = {"earliest": "earliest", "latest": "latest", "error": "error"}[kafka.start]
    settings = {
        "queued.max.messages.kbytes": "65536",  # limits memory, however far behind the group is
        "client.id": "dupe-audit",
        "allow.auto.create.topics": "false",
        **_without(kafka.librdkafka, _PRODUCER_ONLY),
        "bootstrap.servers": kafka.brokers,
        "group.id": kafka.group,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "auto.offset.reset": reset,
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
    }
    return settings | ({"group.instance.id": kafka.instance_id} if kafka.instance_id else {})


def producer_settings(kafka: KafkaSettings, dlq: DlqSettings) -> dict[str, str]:
    """Return the settings of the producer of dead letters."""
    return {
        "client.id": "dupe-audit-dlq",
        "linger.ms": "5",
        # A message from the broker has to fit again, with the added headers; the broker's own limit decides.
        "message.max.bytes": "104857600",
        **_without(kafka.librdkafka, _CONSUMER_ONLY),
        "bootstrap.servers": kafka.brokers,
        "acks": "all",
        "enable.idempotence": "true",
        "delivery.timeout.ms": str(dlq.timeout),
    }


def _without(settings: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if not name.startswith(prefixes)}
