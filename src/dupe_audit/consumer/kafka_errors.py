"""Errors of Kafka that do not pass, and what the user can do about each."""

from __future__ import annotations

from confluent_kafka import KafkaError

from dupe_audit.errors import DupeAuditError

#: error code to the hint that the message ends with
PERMANENT = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Allow this user to read the topics.",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Allow this user to use the consumer group.",
    KafkaError.FENCED_INSTANCE_ID: "Another process uses the same kafka.instance_id.",
    KafkaError._AUTO_OFFSET_RESET: (  # noqa: SLF001 - librdkafka's own codes are public under this name
        "The group has no committed offsets, or the broker has deleted the events that they point to. "
        'Set the offsets of the group, or kafka.start = "earliest".'
    ),
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: (
        "Other members of the group use a different assignment strategy: stop all of them, then start this consumer."
    ),
}


def raise_if_permanent(error: KafkaError) -> None:
    """Return if the error may pass by itself.

    Raises:
        DupeAuditError: it cannot; the message says what to do.
    """
    if error.fatal() or error.code() in PERMANENT:
        hint = PERMANENT.get(error.code(), "Restart the process.")
        raise DupeAuditError(f"Kafka: {error.str()} ({error.name()}). {hint}")
