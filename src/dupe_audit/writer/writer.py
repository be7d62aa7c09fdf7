"""The writer: rows in, an outcome for each out, whatever state the table's constraint is in."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from dupe_audit.driver import reason
from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.model import UniqueKey, check_identifier
from dupe_audit.writer import send
from dupe_audit.writer.compose import compose
from dupe_audit.writer.outcome import Outcome, Unavailable
from dupe_audit.writer.sqlstates import Class, classify, why
from dupe_audit.writer.target import Arbiter, Target, probe
from dupe_audit.writer.values import Unfit, Values

T = TypeVar("T")

#: rows from which staging is faster than a statement a row (benchmarks/writer.py)
STAGE_FROM = 200

#: tries of one transaction, with growing pauses from 10 ms, before the caller has to wait
TRIES = 6

#: seconds between looks into the catalog while there is no arbiter: this late is a new constraint noticed
PROBE_EVERY = 1.0

#: what REINDEX CONCURRENTLY calls the copy of an index that it builds, or drops; PostgreSQL documentation, REINDEX
_REINDEXED = re.compile(r"_cc(new|old)\d*$")

Sent = tuple[int, send.Row]


class _AtFault(Exception):
    """One of the rows cannot be stored."""

    def __init__(self, error: psycopg.Error) -> None:
        self.outcome = Outcome(kind="rejected", sqlstate=error.sqlstate, reason=why(error))


class Writer:
    """Writes rows of one table over one connection, which is the writer's own while it lives.

    ``write`` takes a batch and returns when it is committed. The rows of a batch are sorted by key, so that two
    writers do not deadlock. A row that cannot be stored costs itself alone. A key that is there already is never
    overwritten, and costs no value of a sequence.

    While the key has no valid constraint (before a migration, during one, after its downgrade) rows are written
    all the same, and duplicates among them too; from the moment it is valid it is named as the arbiter, within a
    second. So the writer can be deployed first, and stay when the migration is undone.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        key: UniqueKey,
        columns: Sequence[str],
        *,
        ignore: Sequence[str] = (),
    ) -> None:
        """Look at nothing yet.

        Args:
            connection: one of psycopg, in autocommit, outside a transaction.
            key: the table, the columns of its key, and the constraint's name; without a name, any valid unique
                index over those columns is the arbiter.
            columns: the columns of a row, in the order of its values; the key's among them.
            ignore: columns in which a duplicate may differ from the row that is there, such as those filled in
                later; those of the primary key always may.

        Raises:
            WrongUsage: the connection is not in autocommit, or the columns do not fit together.
        """
        for column in columns:
            check_identifier("column", column)
        if lacking := [column for column in (*key.columns, *ignore) if column not in columns]:
            raise WrongUsage(f"{lacking[0]!r} is not among the columns that are written: {', '.join(columns)}.")
        if len(set(columns)) != len(columns):
            raise WrongUsage(f"A column is named twice: {', '.join(columns)}.")
        self.retries: Counter[str] = Counter()  #: by SQLSTATE, how often a transaction was tried again
        self._connection, self._key, self._columns, self._ignore = connection, key, tuple(columns), tuple(ignore)
        self._key_places = tuple(self._columns.index(column) for column in key.columns)
        self._target: Target | None = None
        self._probed = 0.0
        self._stages: set[str] = set()
        self._may_stage = True
        self._require_idle()

    @property
    def arbiter(self) -> Arbiter:
        """What ON CONFLICT can name, as last seen; looks, if that is too long ago to be trusted.

        Raises:
            DupeAuditError: as ``probe``.
        """
        if self._target is None or (
            not self._target.arbiter.enforced and time.monotonic() > self._probed + PROBE_EVERY
        ):
            return self.probe()
        return self._target.arbiter

    def probe(self) -> Arbiter:
        """Look into the catalog now.

        Raises:
            Unavailable: the server cannot be asked now.
            DupeAuditError: there is no such table; WrongUsage: a column is missing, or fills itself.
        """
        target = self._tried(partial(probe, self._connection, self._key, self._columns, self._ignore))
        self._probed = time.monotonic()
        if target != self._target:
            self._target, self._statements = target, compose(target)
            self._values = Values(self._columns, {column.name: column.base for column in target.columns})
        return target.arbiter

    def write_one(self, row: Sequence[Any] | Mapping[str, Any]) -> Outcome:
        """Write one row; see ``write``."""
        return self.write([row])[0]

    def write(self, rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> list[Outcome]:
        """Write the rows, commit, and return an outcome for each, in their order.

        A row is a sequence in the order of the columns, or a mapping by their names. It goes in one transaction,
        or in several where a row has to be singled out.

        Raises:
            Unavailable: the server is away, or busy for too long; the same call is right later.
            DupeAuditError: the table, a column or a permission is missing; every row would meet that.
            WrongUsage: the connection is inside a transaction of the caller's.
        """
        self._require_idle()
        self.arbiter  # noqa: B018 - looks into the catalog, if it is time
        outcomes: dict[int, Outcome] = {}
        sent: list[Sent] = []
        for place, row in enumerate(rows):
            try:
                sent.append((place, self._values(row)))
            except Unfit as unfit:
                outcomes[place] = Outcome(kind="rejected", reason=str(unfit))
        sent.sort(key=lambda one: [str(one[1][place]) for place in self._key_places])
        self._settle(sent, outcomes)
        return [outcomes[place] for place in range(len(rows))]

    def _require_idle(self) -> None:
        idle = self._connection.closed or self._connection.info.transaction_status is TransactionStatus.IDLE
        if not idle or not self._connection.autocommit:
            raise WrongUsage(
                "The writer opens its own transactions: give it a connection in autocommit, outside a transaction."
            )

    def _settle(self, sent: list[Sent], outcomes: dict[int, Outcome]) -> None:
        """Write all that can be written: halve a batch that holds a bad row until that row is alone."""
        seen: set[send.Row] = set()
        parts = [sent] if sent else []
        while parts:
            part = parts.pop()
            try:
                verdicts = self._tried(partial(self._send, [row for _, row in part]))
            except _AtFault as fault:
                if len(part) == 1:
                    outcomes[part[0][0]] = fault.outcome
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]  # the first half is next: the first of a key goes in
                continue
            for (place, row), verdict in zip(part, verdicts, strict=True):
                outcomes[place] = self._settle_alone(row) if verdict is None else self._outcome(verdict, seen)

    def _outcome(self, verdict: send.Verdict, seen: set[send.Row]) -> Outcome:
        primary_key = self._target.primary_key if self._target else ()
        known = verdict.identity if primary_key else ()
        id_ = known[0] if len(known) == 1 else (known or None)
        if verdict.inserted:
            seen.add(verdict.identity)
            return Outcome(kind="inserted", id=id_)
        if not verdict.same:
            return Outcome(kind="collision", id=id_)
        return Outcome(kind="in_batch" if verdict.identity in seen else "duplicate", id=id_)

    def _send(self, rows: list[send.Row]) -> list[send.Verdict | None]:
        if len(rows) >= STAGE_FROM and self._can_stage(rows):
            return send.staged(self._connection, self._statements, rows)
        return send.by_row(self._connection, self._statements, rows)

    def _can_stage(self, rows: list[send.Row]) -> bool:
        """Make the stage, where there can be one and the rows can be told apart by their keys."""
        target, create = self._target, self._statements.create_stage
        if not (target and target.arbiter.enforced and self._may_stage and not target.pooled):
            return False
        if not target.nulls_not_distinct and any(row[place] is None for row in rows for place in self._key_places):
            return False
        if create not in self._stages:
            try:
                self._connection.execute(create.encode())
            except psycopg.errors.InsufficientPrivilege:
                self._may_stage = False  # no TEMPORARY on the database: a statement a row does the same
                return False
            self._stages.add(create)
        return True

    def _settle_alone(self, row: send.Row) -> Outcome:
        """Find out about a row that DO NOTHING did nothing with.

        A bare one passes over a conflict with *any* unique index, so this may be an event that a primary key's
        lagging sequence would have lost. Named, it was committed by somebody else after our snapshot.
        """
        try:
            if self._target and self._target.arbiter.enforced:
                verdict = self._tried(partial(self._send, [row]))[0]
                if verdict is not None:
                    return self._outcome(verdict, set())
            return self._outcome(self._tried(partial(self._alone, row)), set())
        except _AtFault as fault:
            return fault.outcome

    def _alone(self, row: send.Row) -> send.Verdict:
        try:
            return send.alone(self._connection, self._statements, row)
        except psycopg.errors.UniqueViolation as error:
            if not self._of_key(error.diag.constraint_name or ""):
                raise
            return send.Verdict(False, True, ())

    def _of_key(self, index: str) -> bool:
        """Tell whether an index is one over the key's columns; one that has gone meanwhile was REINDEX's."""
        for look in (False, True):
            arbiter = self.probe() if look else self.arbiter
            if index in arbiter.key_indexes or _REINDEXED.sub("", index) in arbiter.key_indexes:
                return True
            if index in arbiter.other_indexes:
                return False
        return True

    def _tried(self, action: Callable[[], T]) -> T:
        """Run one transaction; try again what is a matter of the moment, and say what anything else means.

        Raises:
            _AtFault: a row cannot be stored.
            Unavailable: the tries are used up, or the session is lost.
            DupeAuditError: no row can be stored.
        """
        for attempt in range(1, TRIES + 1):
            try:
                return action()
            except psycopg.Error as error:
                kind = classify(error)
                if kind is Class.UNIQUE:
                    kind = Class.RETRY if self._of_key(error.diag.constraint_name or "") else Class.ROW
                if kind is Class.ROW:
                    raise _AtFault(error) from error
                if kind is Class.FATAL or (kind is Class.REPROBE and attempt == TRIES):
                    raise DupeAuditError(
                        f"Nothing can be written to {self._key}: {reason(error)} (SQLSTATE {error.sqlstate}). "
                        "Mend that, then start again."
                    ) from error
                if kind is Class.RECONNECT or self._connection.closed or attempt == TRIES:
                    raise Unavailable(
                        f"{self._key} cannot be written to now: {reason(error)} (SQLSTATE {error.sqlstate or 'none'}).",
                        sqlstate=error.sqlstate,
                        reconnect=kind is Class.RECONNECT or self._connection.closed,
                    ) from error
                self.retries[error.sqlstate or "none"] += 1
                time.sleep(0.01 * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                if kind is Class.REPROBE:
                    self.probe()
        raise AssertionError  # pragma: no cover - the last try returns or raises
