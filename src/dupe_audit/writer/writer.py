"""The writer: rows in, an outcome for each out, whatever state the table's constraint is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from dupe_audit.errors import WrongUsage
from dupe_audit.model import UniqueKey, check_identifier
from dupe_audit.writer import send
from dupe_audit.writer.delivery import AtFault, Delivery
from dupe_audit.writer.outcome import Outcome
from dupe_audit.writer.target import Arbiter
from dupe_audit.writer.values import Unfit, Values

Sent = tuple[int, send.Row]


class Writer:
    """Writes rows of one table over one connection, which is the writer's own while it lives; for one thread.

    ``write`` takes a batch and returns when it is committed. The rows of a batch are sorted by key, so that two
    writers do not deadlock. A row that cannot be stored costs itself alone. A key that is there already is never
    overwritten, and costs no value of a sequence.

    While the key has no valid constraint (before a migration, during one, after its downgrade) rows are written
    all the same. Where an index leads to a key's rows, the writer looks there first, so that two writers at the
    same moment are the only source of duplicates left; without one, every copy is written. From the moment the
    constraint is valid it is named as the arbiter, within a second. So the writer can be deployed first, and stay
    when the migration is undone.
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
        self._columns = tuple(columns)
        self._key_places = tuple(self._columns.index(column) for column in key.columns)
        self._delivery = Delivery(connection, key, self._columns, tuple(ignore))
        self._require_idle()

    @property
    def arbiter(self) -> Arbiter:
        """What ON CONFLICT can name, as last seen; looks, if that is too long ago to be trusted.

        Raises:
            DupeAuditError: as ``probe``.
        """
        return self._delivery.target.arbiter

    @property
    def retries(self) -> Counter[str]:
        """By SQLSTATE, how often a transaction was tried again."""
        return self._delivery.retries

    def probe(self) -> Arbiter:
        """Look into the catalog now.

        Raises:
            Unavailable: the server cannot be asked now.
            DupeAuditError: there is no such table; WrongUsage: a column is missing, or fills itself.
        """
        return self._delivery.probe().arbiter

    def write_one(self, row: Sequence[Any] | Mapping[str, Any]) -> Outcome:
        """Write one row; see ``write``."""
        return self.write([row])[0]

    def write(self, rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> list[Outcome]:
        """Write the rows, commit, and return an outcome for each, in their order.

        A row is a sequence in the order of the columns, or a mapping by their names. The rows go in one
        transaction, or in several where a row has to be singled out.

        Raises:
            Unavailable: the server is away, or busy for too long; the same call is right later.
            DupeAuditError: the table, a column or a permission is missing; every row would meet that.
            WrongUsage: the connection is inside a transaction of the caller's.
        """
        self._require_idle()
        rows = list(rows)
        target = self._delivery.target
        as_sent = Values(self._columns, {column.name: column.base for column in target.columns})
        outcomes: dict[int, Outcome] = {}
        sent: list[Sent] = []
        for place, row in enumerate(rows):
            try:
                sent.append((place, as_sent(row)))
            except Unfit as unfit:
                outcomes[place] = Outcome(kind="rejected", reason=str(unfit))
        sent.sort(key=lambda one: [str(one[1][place]) for place in self._key_places])
        self._settle(sent, outcomes)
        return [outcomes[place] for place in range(len(rows))]

    def _require_idle(self) -> None:
        connection = self._delivery.connection
        idle = connection.closed or (
            connection.info.transaction_status is TransactionStatus.IDLE
            and connection.pgconn.pipeline_status == PipelineStatus.OFF
        )
        if not idle or not connection.autocommit:
            raise WrongUsage(
                "The writer opens its own transactions: give it a connection in autocommit, outside a transaction and "
                "a pipeline."
            )

    def _settle(self, sent: list[Sent], outcomes: dict[int, Outcome]) -> None:
        """Write all that can be written: halve a batch that holds a bad row until that row is alone."""
        seen: set[send.Row] = set()
        parts = [sent] if sent else []
        while parts:
            part = parts.pop()
            try:
                verdicts = self._delivery.deliver([row for _, row in part])
            except AtFault as fault:
                if len(part) == 1:
                    outcomes[part[0][0]] = fault.outcome
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]  # the first half is next: the first of a key goes in
                continue
            for (place, row), verdict in zip(part, verdicts, strict=True):
                outcomes[place] = self._settle_alone(row) if verdict is None else self._outcome(verdict, seen)

    def _settle_alone(self, row: send.Row) -> Outcome:
        """Find out about a row that DO NOTHING did nothing with.

        A bare one passes over a conflict with *any* unique index, so this may be an event that a primary key's
        lagging sequence would have lost. Or the key was committed by somebody else after our snapshot; then a second
        look finds it, and whether it holds the same data.
        """
        try:
            verdict = self._delivery.deliver([row])[0] if self.arbiter.enforced else None
            if verdict is None:
                verdict = self._delivery.deliver_alone(row)
                if not verdict.inserted and not self._delivery.target.deferrable:
                    verdict = self._delivery.deliver([row])[0] or verdict
            return self._outcome(verdict, set())
        except AtFault as fault:
            return fault.outcome

    def _outcome(self, verdict: send.Verdict, seen: set[send.Row]) -> Outcome:
        known = verdict.identity if self._delivery.has_primary_key else ()
        id_ = known[0] if len(known) == 1 else (known or None)
        if verdict.inserted:
            seen.add(verdict.identity)
            return Outcome(kind="inserted", id=id_)
        if not verdict.same:
            return Outcome(kind="collision", id=id_)
        return Outcome(kind="in_batch" if verdict.identity in seen else "duplicate", id=id_)
