"""Deliver rows to the table in its present state: know its arbiter, choose the way to send, retry passing errors."""

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
from dupe_audit.writer.error_classes import ErrorClass, classify, safe_reason
from dupe_audit.writer.outcome import Outcome, Unavailable
from dupe_audit.writer.target import Target, probe

T = TypeVar("T")

#: number of rows from which one statement for all is faster than one per row (benchmarks/writer.py)
TOGETHER_FROM = 200

#: tries of one transaction, with growing pauses from 10 ms, before ``Unavailable`` is raised
TRIES = 6

#: seconds between two reads of the catalog while there is no arbiter; a new constraint is noticed within that time
PROBE_EVERY = 1.0

#: the suffix of the index that REINDEX CONCURRENTLY builds or drops (PostgreSQL documentation, REINDEX)
_REINDEX_SUFFIX = re.compile(r"_cc(new|old)\d*$")


class RowFault(Exception):
    """One of the rows cannot be stored; the outcome is that row's if it was sent alone."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Delivery:
    """One connection and one table; each call is one transaction, repeated after passing errors.

    Every method except ``probe`` raises ``RowFault`` if a row cannot be stored. Each method raises ``Unavailable`` if
    the tries are used up or the session is lost, and another DupeAuditError if no row could ever be stored.
    """

    def __init__(
        self,
        connection: send.Connection,
        key: UniqueKey,
        columns: Sequence[str],
        ignore: Sequence[str],
        *,
        needs_arbiter: bool,
    ) -> None:
        self.connection = connection
        self.retries: Counter[str] = Counter()
        self._key, self._columns, self._ignore, self._needs_arbiter = key, columns, ignore, needs_arbiter
        self._target: Target | None = None
        self._probed = 0.0

    @property
    def target(self) -> Target:
        """The table as last read; read again if it has no arbiter and that was more than a second ago."""
        stale = time.monotonic() > self._probed + PROBE_EVERY
        if self._target is None or (stale and not self._target.arbiter.enforced):
            return self.probe()
        return self._target

    @property
    def has_primary_key(self) -> bool:
        """Whether the table as last read has one; this never reads the catalog, as it is called for each row."""
        return bool(self._target and self._target.primary_key)

    def probe(self) -> Target:
        """Read the table from the catalog now."""
        try:
            target = self._with_retries(
                partial(
                    probe,
                    self.connection,
                    self._key,
                    self._columns,
                    self._ignore,
                    needs_arbiter=self._needs_arbiter,
                    # An index that appears later does not stop the writer: a row that violates it is a duplicate.
                    starting=self._target is None,
                )
            )
        except RowFault as fault:  # not a row's: none was sent
            raise DupeAuditError(f"The catalog cannot be read for {self._key}: {fault.outcome.reason}.") from fault
        self._probed = time.monotonic()
        if target != self._target:
            self._target, self._statements = target, compose(target)
        return target

    def deliver(self, rows: Sequence[send.Row]) -> list[send.RowResult | None]:
        """Write the rows and return a result for each; None if DO NOTHING skipped it and its key was not found."""
        return self._with_retries(partial(self._send, rows))

    def deliver_alone(self, row: send.Row) -> send.RowResult:
        """Write one row without a conflict clause; ``inserted=False`` if an index over the key forbids it."""
        return self._with_retries(partial(self._send_alone, row))

    def _send(self, rows: Sequence[send.Row]) -> list[send.RowResult | None]:
        way = send.together if len(rows) >= TOGETHER_FROM and self._can_send_together(rows) else send.by_row
        return way(self.connection, self._statements, rows)

    def _can_send_together(self, rows: Sequence[send.Row]) -> bool:
        """Return whether the rows can be identified by their keys afterwards."""
        target = self.target
        if not self._statements.insert_batch or target.has_row_trigger:
            return False
        positions = [self._columns.index(column) for column in target.key]
        return target.nulls_not_distinct or not any(row[position] is None for row in rows for position in positions)

    def _send_alone(self, row: send.Row) -> send.RowResult:
        try:
            return send.alone(self.connection, self._statements, row)
        except psycopg.errors.UniqueViolation as error:
            if not self._violates_key(error):
                raise
            return send.RowResult(inserted=False, same=True, identity=())

    def _violates_key(self, error: psycopg.Error) -> bool:
        """Return whether the violated index is over the key's columns.

        An index of the table that no longer exists is taken for one that REINDEX CONCURRENTLY has dropped.
        """
        index = error.diag.constraint_name or ""
        relation = (error.diag.schema_name or "", error.diag.table_name or "")
        of_target = False
        for fresh in (False, True):
            target = self.probe() if fresh else self.target
            arbiter, of_target = target.arbiter, relation in target.relations
            if not of_target:  # of a table that a trigger writes to, or an error that a trigger raises itself
                continue
            if index in arbiter.key_indexes or _REINDEX_SUFFIX.sub("", index) in arbiter.key_indexes:
                return True
            if index in arbiter.other_indexes:
                return False
        return of_target

    def _is_final(self, error: psycopg.Error) -> bool:
        """Return whether a violation of an index over the key is a duplicate, not a temporary condition.

        ON CONFLICT prevents it, except while an index is being rebuilt. There is no clause if a constraint is
        deferrable, and it does not prevent the violation of an index with another predicate.
        """
        target, index = self.target, _REINDEX_SUFFIX.sub("", error.diag.constraint_name or "")
        if not target.arbiter.enforced:
            return target.deferrable
        return index in target.arbiter.key_indexes and index not in target.arbiter.prevented

    def _classify(self, error: psycopg.Error) -> ErrorClass:
        kind = classify(error)
        if kind is ErrorClass.UNIQUE:
            if not self._violates_key(error):
                return ErrorClass.ROW
            return ErrorClass.UNIQUE if self._is_final(error) else ErrorClass.RETRY
        return ErrorClass.RECONNECT if self.connection.closed else kind

    def _with_retries(self, action: Callable[[], T]) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                return action()
            except (UnicodeError, OverflowError) as error:  # from psycopg, such as for a letter that LATIN1 lacks
                raise RowFault(Outcome(kind="rejected", reason="a value could not be sent")) from error
            except psycopg.Error as error:
                kind = self._classify(error)
                self._raise_unless_retried(error, kind, last=attempt == TRIES)
                self.retries[error.sqlstate or "none"] += 1
                time.sleep(0.01 * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                if kind is ErrorClass.REPROBE and self._target:
                    self.probe()
        raise AssertionError  # the last try returns or raises

    def _raise_unless_retried(self, error: psycopg.Error, kind: ErrorClass, *, last: bool) -> None:
        if kind is ErrorClass.ROW:
            raise RowFault(Outcome(kind="rejected", sqlstate=error.sqlstate, reason=safe_reason(error))) from error
        if kind is ErrorClass.UNIQUE:
            raise RowFault(Outcome(kind="duplicate")) from error
        if kind is ErrorClass.FATAL or (kind is ErrorClass.REPROBE and last):
            raise DupeAuditError(
                f"No row can be written to {self._key}: {reason(error)} (SQLSTATE {error.sqlstate}). "
                "Fix that, then start again."
            ) from error
        if kind is ErrorClass.RECONNECT or last:
            raise Unavailable(
                f"No row can be written to {self._key} now: {reason(error)} (SQLSTATE {error.sqlstate or 'none'}).",
                sqlstate=error.sqlstate,
                reconnect=kind is ErrorClass.RECONNECT,
            ) from error
