"""Clean and build in rounds, spaced and bounded by time, until no new duplicate is in the way.

If the table is small enough, the last resort is to hold the writers for an instant (``window``).
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from dupe_audit.constraint.existing_index import settled
from dupe_audit.constraint.index import build
from dupe_audit.constraint.window import TOO_LONG, build_held
from dupe_audit.constraint.work import ConstraintWork
from dupe_audit.errors import Blocked, DupeAuditError, DuplicatesKeepComing, Refused
from dupe_audit.findings import finding, quantity
from dupe_audit.model import IndexState, milliseconds
from dupe_audit.postgres.patience import Patience

log = logging.getLogger("alembic.dupe_audit")

#: archives the extras that have arrived, and returns how many; of a tree, it is given the leaf
Cleaning = Callable[..., int]

#: seconds before the second round, what each pause is multiplied by for the next one, and the longest pause
PAUSE, GROWTH, LONGEST = 0.1, 1.6, 5.0

#: how often the writers may be held in vain because the work took too long
OVERRUNS = 3


def pause_before(attempt: int) -> float:
    """Return the average pause before a build after the first one, in seconds."""
    return min(PAUSE * GROWTH ** (attempt - 2), LONGEST)


class Rounds:
    """The rounds of one constraint: how each ended, how long the work takes, and how many duplicates arrived.

    Args:
        clean_again: None if nothing may be archived.
        clean_held: the same inside an open transaction that holds the writers; None if it is not possible there.
        ranking_seconds: how long ranking the whole table took, if the cleanings rank only what has arrived.
    """

    def __init__(
        self,
        work: ConstraintWork,
        clean_again: Cleaning | None,
        clean_held: Cleaning | None,
        ranking_seconds: Callable[..., float],
    ) -> None:
        self._work, self._clean_again, self._clean_held = work, clean_again, clean_held
        self._ranking_seconds = ranking_seconds
        self._leaf = () if work.leaf is None else (work.relation,)
        self._patience = Patience(work.give_up_after, pause=PAUSE, growth=GROWTH, longest=LONGEST, jitter=True)
        self._started = time.monotonic()
        self._failures: Counter[str] = Counter()  # by kind
        self._arrived = self._overruns = 0
        self._cleaning = self._building = float("inf")  # seconds of the shortest so far
        self._party = self._not_held = ""

    def build(self) -> IndexState:
        """Return the valid index.

        Raises:
            Refused: there are duplicates, and nothing may be archived.
            DuplicatesKeepComing: new duplicates stopped the builds, for the whole time.
            Blocked: deadlocks with another session stopped the builds, for the whole time.
        """
        while True:
            if self._failures:
                self._patience.pause()
                self._clean()
            if self._hold() or self._build():
                if state := settled(self._work):
                    return state
            elif self._attempts >= self._work.rule.build_attempts and self._patience.nearly_exhausted:
                raise self._account()

    @property
    def _attempts(self) -> int:
        return self._failures.total()

    def _clean(self) -> None:
        """Archive what has arrived, right before the build: at any moment in between, another duplicate can arrive."""
        if self._clean_again is not None:
            started = time.monotonic()
            self._arrived += self._clean_again(*self._leaf)
            self._cleaning = min(self._cleaning, time.monotonic() - started)

    def _build(self) -> bool:
        """Build while the application writes; return whether it succeeded."""
        started = time.monotonic()
        failure = build(self._work)
        if failure is None:
            return True
        self._building = min(self._building, time.monotonic() - started)
        self._failures[failure.kind] += 1
        self._party = failure.party or self._party
        log.info("build %d of %s was stopped by a %s", self._attempts, self._work.name, failure)
        if failure.kind == "duplicate" and self._clean_again is None:
            raise Refused(
                [finding("duplicates", "The index build found a duplicate")],
                lead=f"{self._work.key} cannot be enforced, and no op.archive_duplicates() was executed for this key.",
            )
        return False

    def _hold(self) -> bool:
        """Hold the writers and build, if that is short enough; return whether it succeeded."""
        if not (self._clean_again and self._clean_held) or self._attempts < self._work.rule.build_attempts:
            return False
        # A build sorts what a ranking sorts, but also waits for transactions, which the held one does not.
        needed = self._cleaning + min(self._building, max(self._cleaning, self._ranking_seconds(*self._leaf)))
        allowed = milliseconds(self._work.lock_timeout) / 2000
        if needed > allowed or self._overruns >= OVERRUNS:
            self._not_held = (
                f"holding the writers for one build needs about {1000 * needed:,.0f} ms, more than half of the "
                f"lock_timeout of {self._work.lock_timeout} ({math.ceil(2.5 * needed)}s would be enough, if the "
                "application may wait that long)"
                if needed > allowed
                else f"holding the writers for one build took longer than lock_timeout ({self._work.lock_timeout})"
            )
            return False
        self._not_held = build_held(self._work, partial(self._clean_held, *self._leaf))
        self._overruns += self._not_held == TOO_LONG
        return not self._not_held

    def _account(self) -> DupeAuditError:
        """Return the error that says how the rounds ended, with what was counted and measured."""
        seconds, name = time.monotonic() - self._started, self._work.name
        if not self._failures["duplicate"]:
            if locked := self._failures["lock"]:
                return Blocked(
                    f"{quantity(locked, 'build')} of {name} within {seconds:,.0f} s did not acquire a lock on "
                    f"{self._work.relation.name} in {self._work.lock_timeout}. Locks on it are held by {self._party}. "
                    "Wait for them or end them; then run the same command again."
                )
            if waiting := self._failures["waiting"]:
                return Blocked(
                    f"{quantity(waiting, 'build')} of {name} within {seconds:,.0f} s gave way to sessions that wait "
                    f"for {self._work.relation.name}. The last of these was {self._party}. Wait until they are done, "
                    "then run the same command again."
                )
            return Blocked(
                f"{quantity(self._attempts, 'build')} of {name} within {seconds:,.0f} s ended in a deadlock with "
                f"{self._party}. A concurrent build waits for every older transaction, and that session waits for a "
                "lock that this migration's session holds. End that session, or let it poll with "
                "pg_try_advisory_lock(); then run the same command again."
            )
        duplicates = self._failures["duplicate"]
        others = self._attempts - duplicates
        disturbed = f", and {others:,} were stopped by other sessions, the last one by {self._party}" if others else ""
        held = f" Building while the writers are held was not possible: {self._not_held}." if self._not_held else ""
        rate = f"{self._arrived:,} more in {seconds:,.1f} s, {self._arrived / seconds:,.1f} per second"
        return DuplicatesKeepComing(
            f"{quantity(duplicates, 'build')} of {name} failed because new duplicates kept arriving: "
            f"{rate}{disturbed}.{held} First deploy the writer that uses INSERT … ON CONFLICT DO NOTHING, or stop the "
            "old one during a build; then run the same command again."
        )
