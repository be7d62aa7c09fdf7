"""The three ways in which rows reach the server, each in one transaction of its own."""

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

#: at REPEATABLE READ a duplicate that was committed after our snapshot is error 40001, not a duplicate
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

#: A plan that was made while the table was empty reads it from end to end for each row once it is full: 3 to 15
#: times slower (measured). Switched off, a scan costs so much that a batch would be compiled, hence jit.
SEEK = "SET LOCAL enable_seqscan = off"
SEEK_STAGED = f"{SEEK}; SET LOCAL enable_nestloop = off; SET LOCAL jit = off"


class Verdict(NamedTuple):
    """What the server said of a row; no verdict: another transaction was faster, or another index objects."""

    inserted: bool
    same: bool  #: the row that is there holds the same data
    identity: Row


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    """End what is open on every way out, so that the connection can be used again."""
    try:
        yield
    except BaseException:
        if connection.info.transaction_status is not TransactionStatus.IDLE and not connection.closed:
            connection.rollback()
        raise


def _unless_aborted(record: logging.LogRecord) -> bool:
    return "pipeline aborted" not in record.getMessage()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the log that a pipeline was aborted: the error that did it is raised anyway."""
    logger = logging.getLogger("psycopg")
    logger.addFilter(_unless_aborted)
    try:
        yield
    finally:
        logger.removeFilter(_unless_aborted)


def by_row(connection: Connection, statements: Statements, rows: Sequence[Row]) -> list[Verdict | None]:
    """Send one statement a row through a pipeline, in one round trip.

    Raises:
        psycopg.Error: nothing was written, or the connection was lost while committing.
    """
    # Not executemany(returning=True), which asks for the answers before COMMIT is sent: a second round trip.
    cursors: list[RawCursor[Any]] = [RawCursor(connection, row_factory=tuple_row) for _ in rows]
    with _quiet(), _transaction(connection), connection.pipeline():
        connection.execute(BEGIN, prepare=False)
        if statements.insert_staged:
            connection.execute(SEEK, prepare=False)
        for cursor, row in zip(cursors, rows, strict=True):
            cursor.execute(statements.insert, row, prepare=True)
        connection.execute("COMMIT", prepare=False)
    found = [cursor.fetchone() for cursor in cursors]
    return [None if row is None else Verdict(row[0], row[1], row[2:]) for row in found]


def staged(connection: Connection, statements: Statements, rows: Sequence[Row]) -> list[Verdict | None]:
    """Copy the rows into the session's temporary table and insert them from there.

    Raises:
        psycopg.Error: nothing was written, or the connection was lost while committing.
    """
    verdicts: list[Verdict | None] = [None] * len(rows)
    with _transaction(connection):
        connection.execute(f"{BEGIN}; {SEEK_STAGED}")
        with connection.cursor().copy(statements.copy_stage.encode()) as copy:
            for place, row in enumerate(rows):
                copy.write_row((place, *row))
        with _quiet(), connection.pipeline():
            cursor = connection.cursor(row_factory=tuple_row)
            cursor.execute(statements.insert_staged.encode(), prepare=False)
            connection.execute("COMMIT", prepare=False)
    for place, inserted, same, *identity in cursor.fetchall():
        verdicts[place] = Verdict(inserted, same, tuple(identity))
    return verdicts


def alone(connection: Connection, statements: Statements, row: Row) -> Verdict:
    """Send one row with no conflict clause, so that the index that objects is named.

    Raises:
        psycopg.errors.UniqueViolation: an index objects; ``diag.constraint_name`` says which.
        psycopg.Error: nothing was written, or the connection was lost while committing.
    """
    cursor: RawCursor[Any] = RawCursor(connection, row_factory=tuple_row)
    with _transaction(connection):
        connection.execute(BEGIN, prepare=False)
        found = cursor.execute(statements.insert_alone, row).fetchone()
        connection.execute("COMMIT", prepare=False)
    if found is None:  # a trigger said no, in silence
        raise psycopg.errors.NoDataFound("a trigger or rule of the table suppressed the row")
    return Verdict(True, True, found[2:])
