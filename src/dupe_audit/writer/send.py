"""The three ways in which rows reach the server; each sends them in its own transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg import RawCursor
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from dupe_audit.writer.compose import Statements

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]

#: at REPEATABLE READ, a duplicate that is committed after the snapshot is error 40001, not a duplicate
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

#: A plan made while the table was empty reads the whole table for each row once it is full: 3 to 15 times slower
#: (measured). A scan that is switched off has so high a cost that the server would compile a batch, hence jit.
NO_SCAN = "SET LOCAL enable_seqscan = off"
NO_SCAN_STAGED = f"{NO_SCAN}; SET LOCAL enable_nestloop = off; SET LOCAL jit = off"


class Verdict(NamedTuple):
    """The server's answer about a row.

    There is none if another transaction inserted the key meanwhile, or if another unique index forbids the row.
    """

    inserted: bool
    same: bool  #: the existing row holds the same data
    identity: Row  #: of the row that is in the table now


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    """Roll back after any exception, so that the connection can be used again."""
    try:
        yield
    except BaseException:
        if connection.info.transaction_status is not TransactionStatus.IDLE and not connection.closed:
            connection.rollback()
        raise


def _is_not_abort(record: logging.LogRecord) -> bool:
    return "pipeline aborted" not in record.getMessage()


@contextmanager
def _without_abort_warnings() -> Iterator[None]:
    """Do not log that a pipeline was aborted: the error that caused it is raised anyway."""
    logger = logging.getLogger("psycopg")
    logger.addFilter(_is_not_abort)
    try:
        yield
    finally:
        logger.removeFilter(_is_not_abort)


def by_row(connection: Connection, statements: Statements, rows: Sequence[Row]) -> list[Verdict | None]:
    """Send one statement per row through a pipeline, in one round trip.

    Raises:
        psycopg.Error: nothing was written, or the connection was lost while committing.
    """
    # Not executemany(returning=True), which waits for the answers before it sends COMMIT: a second round trip.
    cursors: list[RawCursor[Any]] = [RawCursor(connection, row_factory=tuple_row) for _ in rows]
    with _without_abort_warnings(), _transaction(connection), connection.pipeline():
        connection.execute(BEGIN, prepare=False)
        if statements.looks_up:
            connection.execute(NO_SCAN, prepare=False)
        for cursor, row in zip(cursors, rows, strict=True):
            cursor.execute(statements.insert, row, prepare=True)
        connection.execute("COMMIT", prepare=False)
    answers = [cursor.fetchone() for cursor in cursors]
    return [None if answer is None else Verdict(answer[0], answer[1], answer[2:]) for answer in answers]


def staged(connection: Connection, statements: Statements, rows: Sequence[Row]) -> list[Verdict | None]:
    """Copy the rows into the session's temporary table and insert them from there.

    Raises:
        psycopg.Error: nothing was written, or the connection was lost while committing.
    """
    verdicts: list[Verdict | None] = [None] * len(rows)
    with _transaction(connection):
        connection.execute(f"{BEGIN}; {NO_SCAN_STAGED}")
        with connection.cursor().copy(statements.copy_stage.encode()) as copy:
            for position, row in enumerate(rows):
                copy.write_row((position, *row))
        with _without_abort_warnings(), connection.pipeline():
            cursor = connection.cursor(row_factory=tuple_row)
            cursor.execute(statements.insert_staged.encode(), prepare=False)
            connection.execute("COMMIT", prepare=False)
    for position, inserted, same, *identity in cursor.fetchall():
        verdicts[position] = Verdict(inserted, same, tuple(identity))
    return verdicts


def alone(connection: Connection, statements: Statements, row: Row) -> Verdict:
    """Send one row without a conflict clause, so that a conflict is an error that names the violated index.

    Raises:
        psycopg.errors.UniqueViolation: a unique index forbids the row; ``diag.constraint_name`` says which.
        psycopg.Error: nothing was written, or the connection was lost while committing.
    """
    cursor: RawCursor[Any] = RawCursor(connection, row_factory=tuple_row)
    with _transaction(connection):
        connection.execute(BEGIN, prepare=False)
        answer = cursor.execute(statements.insert_alone, row).fetchone()
        connection.execute("COMMIT", prepare=False)
    if answer is None:
        raise psycopg.errors.NoDataFound("a trigger or rule of the table suppressed the row")
    return Verdict(True, True, answer[2:])
