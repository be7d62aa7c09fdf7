"""Stop when too many events are rejected: a producer has changed, or the mapping is wrong, rather than the events."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dupe_audit.consumer.config import BreakerSettings
from dupe_audit.errors import DupeAuditError


class Breaker:
    """Counts rejected events among the latest events of each topic.

    The window is counted in events, so it means the same at every rate. It spans several batches, so a trickle of
    bad events in batches of one cannot slip through. It is per topic, because a schema changes with its producer.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._batches: dict[str, deque[tuple[int, int]]] = {}

    def check(self, batch: Mapping[str, tuple[int, int]]) -> None:
        """Count a batch's events and rejected events, by topic, before any of them is dead-lettered.

        Raises:
            DupeAuditError: too many were rejected.
        """
        for topic, counts in batch.items():
            batches = self._batches.setdefault(topic, deque())
            batches.append(counts)
            events, rejected = (sum(column) for column in zip(*batches, strict=True))
            while events - batches[0][0] >= self._settings.window:
                oldest = batches.popleft()
                events, rejected = events - oldest[0], rejected - oldest[1]
            if rejected >= self._settings.minimum and rejected > self._settings.share * events:
                raise DupeAuditError(
                    f"{rejected:,} of the last {events:,} events of topic {topic!r} were rejected, more than "
                    f"{self._settings.share:.0%}. The events themselves are rarely at fault: compare the producer's "
                    "fields with [columns], and both with the table. Nothing in this batch was dead-lettered or "
                    "committed. To dead-letter the events anyway, set breaker.share = 1, and set it back "
                    "afterwards."
                )
