"""The writer: takes rows and returns an outcome for each, whatever state the table's constraint is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from sqlalchemy import TextClause

from dupe_audit.errors import WrongUsage
from dupe_audit.model import UniqueKey, check_identifier
from dupe_audit.writer import send
from dupe_audit.writer.arguments import Element, key_of, sort_keys
from dupe_audit.writer.delivery import Delivery, RowFault
from dupe_audit.writer.outcome import Outcome
from dupe_audit.writer.target import Arbiter
from dupe_audit.writer.values import InvalidRow, RowConverter

NumberedRow = tuple[int, send.Row]  #: with its position in the batch


class Writer:
    """Writes rows of one table over one connection, which may not be used for anything else; for one thread.

    ``write`` takes a batch and returns when it is committed. The rows of a batch are sorted by key, so that two
    writers do not deadlock. A row that cannot be stored does not affect the others. An existing row is never
    overwritten, and a duplicate uses no value of a sequence, except for a key with a predicate.

    Rows are also written while the key has no valid constraint: before a migration, during it, and after its
    downgrade. If an index leads to the rows of a key, the writer looks the key up first, so that a duplicate only
    arises if two writers insert the key at the same moment; without such an index every copy is written. Within a
    second after the constraint becomes valid, the writer names it as the arbiter. So the writer can be deployed before
    the migration, and stay when it is downgraded.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        key: UniqueKey | Sequence[Element],
        columns: Sequence[str],
        *,
        table: str | None = None,
        schema: str | None = None,
        where: str | TextClause | None = None,
        ignore: Sequence[str] = (),
        needs_arbiter: bool | None = None,
    ) -> None:
        """Create a writer; the catalog is not read yet.

        Args:
            connection: a psycopg connection in autocommit, outside a transaction.
            key: the table, the elements of its key, its predicate, and the constraint's name; without a name, any
                valid unique index over those elements is the arbiter. Or the elements alone: names of columns, and
                expressions as ``sa.text("lower(email)")``.
            columns: the columns of a row, including the key's and those that its expressions read, in the order of
                its values.
            table: the table of a key that is given as a list of elements.
            schema: its schema; None for the first one of the search path that has the table.
            where: the part of the table in which the key is unique, such as ``deleted_at IS NULL``, if the arbiter is
                a partial unique index and *key* does not have it.
            ignore: columns in which a duplicate may differ from the existing row, such as those filled in later;
                it may always differ in the columns of the primary key.
            needs_arbiter: refuse to start on a table without an arbiter; the default if the key is given as a list of
                elements.

        Raises:
            WrongUsage: the connection is not in autocommit or is inside a transaction, a column of the key or of
                *ignore* is not among *columns*, a column is named twice, or *key*, *table* and *where* do not fit.
        """
        for column in columns:
            check_identifier("column", column)
        if needs_arbiter is None:
            needs_arbiter = not isinstance(key, UniqueKey)
        key = key_of(key, table=table, schema=schema, where=where)
        if missing := [column for column in (*filter(None, key.names), *ignore) if column not in columns]:
            raise WrongUsage(f"{missing[0]!r} is not among the columns that are written: {', '.join(columns)}.")
        if len(set(columns)) != len(columns):
            raise WrongUsage(f"A column is named twice: {', '.join(columns)}.")
        self._columns = tuple(columns)
        self._sort_keys = sort_keys(key, self._columns)
        self._delivery = Delivery(connection, key, self._columns, tuple(ignore), needs_arbiter=needs_arbiter)
        self._require_idle()

    @property
    def arbiter(self) -> Arbiter:
        """What ON CONFLICT can name, as last read; read again if it was ``any`` more than a second ago.

        Raises:
            DupeAuditError: as ``probe``.
        """
        return self._delivery.target.arbiter

    @property
    def retries(self) -> Counter[str]:
        """The number of times that a transaction was retried, by SQLSTATE."""
        return self._delivery.retries

    def probe(self) -> Arbiter:
        """Read the catalog now, and return the arbiter.

        Raises:
            Unavailable: the server cannot be reached now.
            DupeAuditError: the table does not exist.
            WrongUsage: a column is missing or GENERATED ALWAYS, the constraint is on other columns, an expression or
                the predicate is not valid or needs a column that is not written, there is no arbiter although one is
                needed, or an index over the key rejects duplicates and cannot be the arbiter.
        """
        return self._delivery.probe().arbiter

    def write_one(self, row: Sequence[Any] | Mapping[str, Any]) -> Outcome:
        """Write one row and return its outcome.

        Raises:
            Unavailable, DupeAuditError, WrongUsage: as ``write``.
        """
        return self.write([row])[0]

    def write(self, rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> list[Outcome]:
        """Write the rows, commit, and return the outcome of each, in their order.

        A row is a sequence in the order of the columns, or a mapping by their names. The rows are written in one
        transaction, or in several if one of them cannot be stored and has to be found.

        Raises:
            Unavailable: the server is unreachable, or busy for too long; repeat the same call later.
            DupeAuditError: the table, a column or a permission is missing, so no row could be written.
            WrongUsage: the connection is inside a transaction or a pipeline.
        """
        self._require_idle()
        rows = list(rows)
        outcomes: dict[int, Outcome] = {}
        valid = self._converted(rows, outcomes)
        keys = self._sort_keys([row for _, row in valid])
        order = sorted(range(len(valid)), key=keys.__getitem__)
        self._settle([valid[position] for position in order], outcomes)
        return [outcomes[position] for position in range(len(rows))]

    def _converted(
        self, rows: Sequence[Sequence[Any] | Mapping[str, Any]], outcomes: dict[int, Outcome]
    ) -> list[NumberedRow]:
        """Return the rows that can be sent, and record the outcomes of the others."""
        convert = RowConverter(self._columns, {c.name: c.base_type for c in self._delivery.target.columns})
        with suppress(InvalidRow):
            return list(enumerate(convert.together(rows)))
        valid: list[NumberedRow] = []
        for position, row in enumerate(rows):
            try:
                valid.append((position, convert(row)))
            except InvalidRow as invalid:
                outcomes[position] = Outcome(kind="rejected", reason=str(invalid))
        return valid

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

    def _settle(self, rows: list[NumberedRow], outcomes: dict[int, Outcome]) -> None:
        """Write every row that can be stored: halve a batch with a bad row until that row is alone."""
        inserted: set[send.Row] = set()  # identities
        parts = [rows] if rows else []
        while parts:
            part = parts.pop()
            try:
                results = self._delivery.deliver([row for _, row in part])
            except RowFault as fault:
                if len(part) == 1:
                    outcomes[part[0][0]] = fault.outcome
                else:
                    middle = len(part) // 2
                    # The first half is next, so that the first row of a key is the one that is inserted.
                    parts += [part[middle:], part[:middle]]
                continue
            for (position, row), result in zip(part, results, strict=True):
                outcomes[position] = self._settle_alone(row) if result is None else self._outcome(result, inserted)

    def _settle_alone(self, row: send.Row) -> Outcome:
        """Return the outcome of a row that DO NOTHING skipped although its key was not found.

        Without a target, DO NOTHING skips a conflict with *any* unique index: the row may be a new event whose primary
        key comes from a lagging sequence, and must not be lost. Or another session committed the key after the
        statement's snapshot; then looking it up again finds the row, and whether it holds the same data.
        """
        try:
            result = self._delivery.deliver([row])[0] if self.arbiter.enforced else None
            if result is None:
                result = self._delivery.deliver_alone(row)
                if not result.inserted and not self._delivery.target.deferrable:
                    result = self._delivery.deliver([row])[0] or result
            return self._outcome(result, set())
        except RowFault as fault:
            return fault.outcome

    def _outcome(self, result: send.RowResult, inserted: set[send.Row]) -> Outcome:
        primary_key = result.identity if self._delivery.has_primary_key else ()
        id_ = primary_key[0] if len(primary_key) == 1 else (primary_key or None)
        if result.inserted:
            inserted.add(result.identity)
            return Outcome(kind="inserted", id=id_)
        if not result.same:
            return Outcome(kind="collision", id=id_)
        return Outcome(kind="in_batch" if result.identity in inserted else "duplicate", id=id_)
