"""Tell many bad events, which point at a changed producer, from a few."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dupe_audit.consumer.config import BreakerRule
from dupe_audit.errors import DupeAuditError


class Breaker:
    """Counts rejected events among the last of each topic.

    The window is one of events, so that it means the same at every rate, and goes over several batches, so that
    a trickle of bad events in batches of one does not pass. It is per topic: a schema changes with a producer.
    """

    def __init__(self, rule: BreakerRule) -> None:
        self._rule = rule
        self._batches: dict[str, deque[tuple[int, int]]] = {}

    def check(self, batch: Mapping[str, tuple[int, int]]) -> None:
        """Count a batch's events and rejected ones, by topic, before anything of it is dead-lettered.

        Raises:
            DupeAuditError: too many were rejected.
        """
        for topic, counts in batch.items():
            batches = self._batches.setdefault(topic, deque())
            batches.append(counts)
            events, rejected = (sum(column) for column in zip(*batches, strict=True))
            while events - batches[0][0] >= self._rule.window:
                gone = batches.popleft()
                events, rejected = events - gone[0], rejected - gone[1]
            if rejected >= self._rule.minimum and rejected > self._rule.share * events:
                raise DupeAuditError(
                    f"{rejected} of the last {events} events of topic {topic!r} were rejected, more than "
                    f"{self._rule.share:.0%}. That is hardly the fault of the events: compare the producer's fields "
                    "with [columns], and the table with both. Nothing of this batch was dead-lettered or committed. "
                    "To dead-letter them all the same, set breaker.share = 1 for one run."
                )
