"""From Kafka into a table with a unique key: each event once, however often it is delivered.

``consume`` is the command; ``reading.read`` returns its configuration.
"""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack
from dataclasses import replace
from importlib import metadata

from dupe_audit.consumer.config import Config
from dupe_audit.consumer.logs import log_event
from dupe_audit.consumer.reading import read
from dupe_audit.consumer.stop import Abandoned, Stop
from dupe_audit.errors import DupeAuditError, WrongUsage

__all__ = ["Config", "Stop", "consume", "read"]


def consume(config: Config, url: str, *, replay: bool = False, stop: Stop | None = None) -> int:
    """Consume until a signal arrives, or replay the existing dead letters; return the exit code.

    Args:
        config: what ``read`` has returned.
        url: the database, in any form that libpq or SQLAlchemy reads.
        replay: replay the dead letters instead of consuming the topics.
        stop: for a caller in a thread, which receives no signals: its ``request`` stops the consumer.

    Raises:
        WrongUsage: the table does not fit the file, the port is in use, or the extra ``kafka`` is not installed.
        DupeAuditError: the reason for another failure. Every committed event has been written or dead-lettered.
    """
    code, reason = 3, "failed"
    if stop is None:
        stop = Stop(config.batch.shutdown / 1000)
    try:
        code, reason = _consume(_replay_config(config) if replay else config, url, stop, replay=replay)
    except DupeAuditError as error:
        code, reason = error.exit_code, str(error)
        raise
    finally:
        level = logging.INFO if code in (0, 130) else logging.ERROR
        log_event("stopped", level=level, reason=reason, exit_code=code)
    return code


def _consume(config: Config, url: str, stop: Stop, *, replay: bool) -> tuple[int, str]:
    try:
        from dupe_audit.consumer.dlq import DeadLetters
        from dupe_audit.consumer.loop import Loop
        from dupe_audit.consumer.metrics import Metrics
        from dupe_audit.consumer.source import Source
    except ImportError as error:
        raise WrongUsage(
            f"The consumer needs {error.name}, which is not installed: pip install 'dupe-audit[kafka]'"
        ) from None
    from dupe_audit.consumer.database import Database
    from dupe_audit.consumer.health import Endpoint, Health

    version = metadata.version("dupe-audit")
    metrics = Metrics(version=version, group=config.kafka.group)
    health = Health(config.http, rollout=config.table.rollout)
    with ExitStack() as resources:
        resources.enter_context(stop.handling_signals())
        database = Database(url, config)
        resources.callback(database.close)
        address = None
        if config.http.enabled and not replay:
            endpoint = Endpoint(config.http, health, metrics)
            resources.callback(endpoint.close)
            address = endpoint.address
        dlq = DeadLetters(config.kafka, config.dlq, metrics)
        resources.callback(dlq.close)
        source = Source(config.kafka, metrics, health, track_ends=replay)
        resources.callback(source.close)
        loop = Loop(
            config, database, source, dlq, metrics=metrics, health=health, stop=stop, version=version, replay=replay
        )
        log_event(
            "started",
            version=version,
            group=config.kafka.group,
            topics=config.kafka.topics,
            table=str(config.table.key),
            http=address,
        )
        try:
            loop.probe()  # a missing table is reported before the group is disturbed
            source.subscribe()
            loop.run()
        except Abandoned:  # also during the first attempt to connect, which may take long
            log_event("abandoned", level=logging.WARNING)
        if replay:
            kinds = ("read", "inserted", "duplicate", "in_batch", "collision", "rejected")
            log_event("replayed", **{kind: loop.totals[kind] for kind in kinds})
    if stop.signal == signal.SIGINT:
        return 130, "SIGINT"
    if stop:
        return 0, "SIGTERM"
    return (1 if loop.totals["rejected"] else 0), "replayed to the end"


def _replay_config(config: Config) -> Config:
    """Return the configuration of a replay: it reads the dead-letter topics, in its own group."""
    topics = tuple(dict.fromkeys(map(config.dlq.topic_of, config.kafka.topics)))
    kafka = replace(config.kafka, topics=topics, group=config.dlq.replay_group, start="earliest", instance_id=None)
    return replace(config, kafka=kafka)
