"""From Kafka into a table with a unique key: each event once, whatever is delivered how often.

``consume`` is the command; ``reading.read`` gives it its configuration.
"""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version as installed

from dupe_audit.consumer.config import Config
from dupe_audit.consumer.logs import say
from dupe_audit.consumer.reading import read
from dupe_audit.consumer.stop import Abandoned, Stop
from dupe_audit.errors import DupeAuditError, WrongUsage

__all__ = ["Config", "Stop", "consume", "read"]


def consume(config: Config, url: str, *, replay: bool = False, stop: Stop | None = None) -> int:
    """Consume until a signal comes, or replay the dead letters that are there; return the exit code.

    ``stop`` is for callers who have no signals, in a thread: they call its ``asked``.

    Raises:
        DupeAuditError: what the command ends with; nothing is committed that is neither written nor dead-lettered.
    """
    code, reason = 3, "failed"
    if stop is None:
        stop = Stop(config.batch.shutdown / 1000)
    try:
        code, reason = _consume(_replaying(config) if replay else config, url, stop, replay=replay)
    except DupeAuditError as error:
        code, reason = error.exit_code, str(error)
        raise
    finally:
        say("stopped", level=logging.INFO if code in (0, 130) else logging.ERROR, reason=reason, exit_code=code)
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

    version = installed("dupe-audit")
    metrics = Metrics(version=version, group=config.kafka.group)
    health = Health(config.http, rollout=config.table.rollout)
    with ExitStack() as closing:
        closing.enter_context(stop.listening())
        database = Database(url, config)
        closing.callback(database.close)
        address = None
        if config.http.enabled and not replay:
            endpoint = Endpoint(config.http, health, metrics)
            closing.callback(endpoint.close)
            address = endpoint.address
        dlq = DeadLetters(config.kafka, config.dlq, metrics)
        closing.callback(dlq.close)
        source = Source(config.kafka, metrics, health, to_the_end=replay)
        closing.callback(source.close)
        loop = Loop(
            config, database, source, dlq, metrics=metrics, health=health, stop=stop, version=version, replay=replay
        )
        say(
            "started",
            version=version,
            group=config.kafka.group,
            topics=config.kafka.topics,
            table=str(config.table.key),
            http=address,
        )
        try:
            loop.look()  # a table that is not there is found before the group is disturbed
            source.subscribe()
            loop.run()
        except Abandoned:  # also while it connects for the first time, which may take long
            say("abandoned", level=logging.WARNING)
        if replay:
            kinds = ("read", "inserted", "duplicate", "in_batch", "collision", "rejected")
            say("replayed", **{kind: loop.totals[kind] for kind in kinds})
    if stop.signal == signal.SIGINT:
        return 130, "SIGINT"
    if stop:
        return 0, "SIGTERM"
    return (1 if loop.totals["rejected"] else 0), "replayed to the end"


def _replaying(config: Config) -> Config:
    """Return the configuration of a replay: it reads the topics of dead letters, in a group of its own."""
    topics = tuple(dict.fromkeys(map(config.dlq.topic_of, config.kafka.topics)))
    kafka = replace(config.kafka, topics=topics, group=config.dlq.replay_group, start="earliest", instance_id=None)
    return replace(config, kafka=kafka)
