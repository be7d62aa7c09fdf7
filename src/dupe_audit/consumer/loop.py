"""The loop: poll, check, write, dead-letter, commit; in this order, so that nothing is committed that is nowhere."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from typing import Any

from confluent_kafka import Message

from dupe_audit.consumer.batch import Batch
from dupe_audit.consumer.breaker import Breaker
from dupe_audit.consumer.config import Config
from dupe_audit.consumer.database import Database
from dupe_audit.consumer.dlq import DeadLetters, letter
from dupe_audit.consumer.events import Decoder
from dupe_audit.consumer.health import Health
from dupe_audit.consumer.logs import say
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.consumer.source import Source
from dupe_audit.consumer.stop import Abandoned, Stop
from dupe_audit.writer import Arbiter, Outcome, Unavailable

#: seconds before the first and before every later try to reach the database again
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

#: seconds after which an idle consumer looks at the table
LOOK_EVERY = 5.0

#: seconds to wait for events at most before looking whether to stop; librdkafka's wait hears no signal
HEAR_EVERY = 0.2


class Loop:
    """One consumer at work. ``run`` returns when it is asked to stop, or a replay has come to its end."""

    def __init__(
        self,
        config: Config,
        database: Database,
        source: Source,
        dlq: DeadLetters,
        *,
        metrics: Metrics,
        health: Health,
        stop: Stop,
        version: str,
        replay: bool = False,
    ) -> None:
        self._config, self._database, self._source, self._dlq = config, database, source, dlq
        self._metrics, self._health, self._stop, self._version = metrics, health, stop, version
        self._replay = replay
        self._decode = Decoder(config.columns, config.events)
        self._breaker = Breaker(config.breaker)
        self._early: list[Message[Any, Any]] = []
        self._looked = 0.0
        self._away_since: float | None = None
        self._arbiter: Arbiter | None = None
        self.totals: Counter[str] = Counter()  #: events by what became of them

    def run(self) -> None:
        """Go round until asked to stop.

        Raises:
            Abandoned: a signal came, and what was at hand took too long.
            DupeAuditError: going on would lose events or repeat an error for each.
        """
        while not self._stop and not (self._replay and self._source.finished()):
            self._turn()

    def _turn(self) -> None:
        self._health.beat()
        messages = self._gathered()
        if self._replay:  # what this replay itself has dead-lettered again is the next one's
            messages = [one for one in messages if not (self._source.beyond(one) or self._dlq.has_sent(one))]
        if messages:
            self._settle(messages)
        else:
            self._early += self._source.commit({}, self._waiting)
        if time.monotonic() > self._looked + LOOK_EVERY:
            self.look()
            self._source.count_lag()

    def _gathered(self) -> list[Message[Any, Any]]:
        """Return a batch of messages of partitions that are ours: full, or what came within the linger time."""
        rows, until = self._config.batch.rows, time.monotonic() + self._config.batch.linger / 1000
        self._forget_what_is_not_ours()
        messages, self._early = self._early[:rows], self._early[rows:]
        waiting = True
        while waiting and len(messages) < rows:
            left = until - time.monotonic()
            messages += self._source.poll(rows - len(messages), max(0.0, min(left, HEAR_EVERY)))
            # This poll may have taken a partition away of which there are messages from before.
            messages = [message for message in messages if self._source.has(message)]
            waiting = left > HEAR_EVERY and not self._stop
            self._health.beat()
        return messages

    def _settle(self, messages: list[Message[Any, Any]]) -> None:
        started = time.monotonic()
        batch = Batch(messages, self._decode, self._config.events)
        batch.settle(self._write(batch))
        if not self._replay:
            self._breaker.check(batch.by_topic())
        rejected = batch.rejected()
        self._dlq.send(
            [letter(message, why, self._topic_of(message.topic() or ""), self._version) for message, why in rejected],
            self._waiting,
            self._hold,
        )
        self._source.resume()
        self._early += self._source.commit(batch.offsets(), self._waiting)
        self._count(batch)
        self._metrics.batch_seconds.observe(time.monotonic() - started)

    def _write(self, batch: Batch) -> list[Outcome]:
        """Write the rows of the batch, however long the database is away; keep the partitions meanwhile."""
        pause = FIRST_PAUSE
        while True:
            try:
                rows = batch.rows()
                with self._stop.breakable():
                    outcomes = self._database.write(rows) if rows else []
                    arbiter = self._database.arbiter if rows else None
            except Unavailable as away:
                self._away(away)
            else:
                if arbiter is not None:
                    self._back(arbiter)
                self._source.resume()
                return outcomes
            self._hold(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            pause = min(2 * pause, LONGEST_PAUSE)
            batch.keep(self._source.owned)
            self._forget_what_is_not_ours()

    def _forget_what_is_not_ours(self) -> None:
        """Drop what was read early of partitions that are lost, whole, at once.

        A part of it that stayed would be committed when the partition comes back, and pass over the rest.
        """
        self._early = [message for message in self._early if self._source.has(message)]

    def _hold(self, seconds: float) -> None:
        """Wait, and poll all the while with every partition paused: whoever does not poll loses its partitions.

        Raises:
            Abandoned: asked to stop; the batch at hand is read again at the next start.
        """
        self._source.pause()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._waiting(at_once=True)
            self._early += self._source.poll(1, min(left, 0.2))

    def _waiting(self, *, at_once: bool = False) -> None:
        self._health.beat()
        if self._stop.overdue or (at_once and self._stop):
            raise Abandoned

    def look(self) -> None:
        """See whether the database is there, and what keeps the key unique; an idle consumer would not notice.

        Raises:
            Abandoned: a signal came, and the database did not answer.
            DupeAuditError: no row could ever be written.
        """
        try:
            with self._stop.breakable():
                self._back(self._database.look())
        except Unavailable as away:
            self._away(away)

    def _away(self, away: Unavailable) -> None:
        self._health.database = False
        self._metrics.database_up.set(0)
        self._metrics.count_retries(self._database.retries)
        if self._away_since is None:
            self._away_since = time.monotonic()
        say("database_away", level=logging.WARNING, sqlstate=away.sqlstate, message=str(away))
        self._looked = time.monotonic()

    def _back(self, arbiter: Arbiter) -> None:
        self._looked = time.monotonic()
        self._health.database, self._health.enforced = True, arbiter.enforced
        self._metrics.database_up.set(1)
        self._metrics.count_retries(self._database.retries)
        if self._away_since is not None:
            say("database_back", seconds=round(time.monotonic() - self._away_since, 1))
            self._away_since = None
        if self._arbiter is None or arbiter.mode != self._arbiter.mode:
            say("arbiter", level=logging.INFO if arbiter.enforced else logging.WARNING, mode=arbiter.mode)
            self._metrics.count_arbiter(arbiter)
        self._arbiter = arbiter

    def _topic_of(self, topic: str) -> str:
        return topic if self._replay else self._config.dlq.topic_of(topic)

    def _count(self, batch: Batch) -> None:
        counts, metrics, table = batch.counts, self._metrics, str(self._config.table.key.table)
        metrics.batch_events.observe(len(batch.items))
        metrics.inserted.inc(counts["inserted"])
        metrics.duplicates.inc(counts["duplicate"])
        metrics.in_batch.inc(counts["in_batch"])
        metrics.collisions.inc(counts["collision"])
        metrics.tombstones.inc(batch.skipped)
        rejected = [why for _message, why in batch.rejected()]
        for why in rejected:
            metrics.rejected.labels(why.reason, why.sqlstate or "").inc()
        self._source.count_lag()
        self.totals += Counter(read=len(batch.items), rejected=len(rejected))
        self.totals += Counter({kind: count for kind, count in counts.items() if kind != "rejected"})
        if prevented := counts["duplicate"] + counts["in_batch"]:
            say(
                "duplicates_prevented",
                count=prevented,
                in_batch=counts["in_batch"],
                inserted=counts["inserted"],
                table=table,
            )
        if counts["collision"]:
            say("collisions", level=logging.WARNING, count=counts["collision"], table=table)
        if rejected:
            reasons = Counter(why.reason for why in rejected)
            say("dead_lettered", level=logging.WARNING, count=len(rejected), reasons=dict(reasons))
