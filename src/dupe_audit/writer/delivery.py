"""Bring rows to the table as it is now: know its arbiter, choose the way, try again what is a matter of the moment."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import psycopg

from dupe_audit.errors import DupeAuditError
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.writer import send
from dupe_audit.writer.compose import compose
from dupe_audit.writer.outcome import Outcome, Unavailable
from dupe_audit.writer.sqlstates import Class, classify, why
from dupe_audit.writer.target import Target, probe

T = TypeVar("T")

#: rows from which staging is faster than a statement a row (benchmarks/writer.py)
STAGE_FROM = 200

#: tries of one transaction, with growing pauses from 10 ms, before the caller has to wait
TRIES = 6

#: seconds between looks into the catalog while there is no arbiter: this late is a new constraint noticed
PROBE_EVERY = 1.0

#: what REINDEX CONCURRENTLY calls the copy of an index that it builds or drops (PostgreSQL documentation, REINDEX)
_REINDEXED = re.compile(r"_cc(new|old)\d*$")


class AtFault(Exception):
    """One of the rows cannot be stored, which is its outcome once it is alone."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Delivery:
    """One connection and one table; each call is one transaction, tried again where that is right.

    Every method but ``probe`` raises ``AtFault`` where a row cannot be stored; each raises ``Unavailable`` where the
    tries are used up or the session is lost, and another DupeAuditError where no row could ever be stored.
    """

    def __init__(
        self, connection: send.Connection, key: UniqueKey, columns: Sequence[str], ignore: Sequence[str]
    ) -> None:
        self.connection = connection
        self.retries: Counter[str] = Counter()
        self._key, self._columns, self._ignore = key, columns, ignore
        self._target: Target | None = None
        self._probed = 0.0
        self._stages: set[str] = set()
        self._may_stage = True

    @property
    def target(self) -> Target:
        """The table as last seen; looked at again where that is too long ago to be trusted."""
        stale = time.monotonic() > self._probed + PROBE_EVERY
        if self._target is None or (stale and not self._target.arbiter.enforced):
            return self.probe()
        return self._target

    @property
    def has_primary_key(self) -> bool:
        """Whether the rows last written have one; asked for each row, so the catalog is not looked at again."""
        return bool(self._target and self._target.primary_key)

    def probe(self) -> Target:
        """Look at the table now."""
        try:
            target = self._tried(partial(probe, self.connection, self._key, self._columns, self._ignore))
        except AtFault as fault:  # no row was sent
            raise DupeAuditError(f"{self._key} cannot be looked at: {fault.outcome.reason}.") from fault
        self._probed = time.monotonic()
        if target != self._target:
            self._target, self._statements = target, compose(target)
        return target

    def deliver(self, rows: Sequence[send.Row]) -> list[send.Verdict | None]:
        """Write the rows; None is the verdict on a row that DO NOTHING did nothing with, and whose key is not seen."""
        return self._tried(partial(self._send, rows))

    def deliver_alone(self, row: send.Row) -> send.Verdict:
        """Write a row so that an index that objects is named; ``inserted=False`` if it is one of the key."""
        return self._tried(partial(self._alone, row))

    def _send(self, rows: Sequence[send.Row]) -> list[send.Verdict | None]:
        way = send.staged if len(rows) >= STAGE_FROM and self._can_stage(rows) else send.by_row
        return way(self.connection, self._statements, rows)

    def _can_stage(self, rows: Sequence[send.Row]) -> bool:
        """Make the stage, where there can be one and the rows can be told apart by their keys."""
        target, create = self.target, self._statements.create_stage
        if not target.operators or not self._may_stage or target.pooled or target.rewrites:
            return False
        places = [self._columns.index(column) for column in target.key]
        if not target.nulls_not_distinct and any(row[place] is None for row in rows for place in places):
            return False
        if create not in self._stages:
            try:
                self.connection.execute(create.encode())
            except psycopg.errors.InsufficientPrivilege:
                self._may_stage = False  # no TEMPORARY on the database: a statement a row does the same
                return False
            self._stages.add(create)
        return True

    def _alone(self, row: send.Row) -> send.Verdict:
        try:
            return send.alone(self.connection, self._statements, row)
        except psycopg.errors.UniqueViolation as error:
            if not self._of_key(error):
                raise
            return send.Verdict(inserted=False, same=True, identity=())

    def _of_key(self, error: psycopg.Error) -> bool:
        """Tell whether a violated index is one over the key's columns; one that has gone meanwhile was REINDEX's."""
        index, where = error.diag.constraint_name or "", (error.diag.schema_name or "", error.diag.table_name or "")
        ours = False
        for again in (False, True):
            target = self.probe() if again else self.target
            arbiter, ours = target.arbiter, where in target.relations
            if not ours:  # of a table that a trigger writes to, or in a trigger's own words
                continue
            if index in arbiter.key_indexes or _REINDEXED.sub("", index) in arbiter.key_indexes:
                return True
            if index in arbiter.other_indexes:
                return False
        return ours

    def _class(self, error: psycopg.Error) -> Class:
        kind = classify(error)
        if kind is Class.UNIQUE:
            if not self._of_key(error):
                return Class.ROW
            # Where no ON CONFLICT was possible this is how a duplicate looks; otherwise an index is being rebuilt.
            return Class.UNIQUE if self.target.deferrable and not self.target.arbiter.enforced else Class.RETRY
        return Class.RECONNECT if self.connection.closed else kind

    def _tried(self, action: Callable[[], T]) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                return action()
            except (UnicodeError, OverflowError) as error:  # of psycopg, such as a letter that LATIN1 has not
                raise AtFault(Outcome(kind="rejected", reason="a value could not be sent")) from error
            except psycopg.Error as error:
                kind = self._class(error)
                self._give_up(error, kind, last=attempt == TRIES)
                self.retries[error.sqlstate or "none"] += 1
                time.sleep(0.01 * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                if kind is Class.REPROBE and self._target:
                    self._stages.clear()
                    self.probe()
        raise AssertionError  # the last try returns or raises

    def _give_up(self, error: psycopg.Error, kind: Class, *, last: bool) -> None:
        if kind is Class.ROW:
            raise AtFault(Outcome(kind="rejected", sqlstate=error.sqlstate, reason=why(error))) from error
        if kind is Class.UNIQUE:
            raise AtFault(Outcome(kind="duplicate")) from error
        if kind is Class.FATAL or (kind is Class.REPROBE and last):
            raise DupeAuditError(
                f"Nothing can be written to {self._key}: {reason(error)} (SQLSTATE {error.sqlstate}). "
                "Mend that, then start again."
            ) from error
        if kind is Class.RECONNECT or last:
            raise Unavailable(
                f"{self._key} cannot be written to now: {reason(error)} (SQLSTATE {error.sqlstate or 'none'}).",
                sqlstate=error.sqlstate,
                reconnect=kind is Class.RECONNECT,
            ) from error
