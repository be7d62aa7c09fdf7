"""The three ways in which rows reach the server; each sends them in its own transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg import RawCursor, abc
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from dupe_audit.statements import statement
from dupe_audit.writer.compose import Statements

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]

#: at REPEATABLE READ, a duplicate that is committed after the snapshot is error 40001, not a duplicate
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

#: A plan made while the table was empty reads the whole table for each row once it is full: 3 to 15 times slower
#: (measured). A scan that is switched off has so high a cost that the server would compile a batch, hence jit.
#: For a batch, see ``write_settings.sql``.
NO_SCAN = "SET LOCAL enable_seqscan = off"

#: characters up to which rows are sent in one statement; a message of the protocol has at most 1 GiB
MOST_CHARACTERS = 100_000_000


class RowResult(NamedTuple):
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


def by_row(connection: Connection, statements: Statements, rows: Sequence[Row]) -> list[RowResult | None]:
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
    return [None if answer is None else RowResult(answer[0], answer[1], answer[2:]) for answer in answers]


def together(connection: Connection, statements: Statements, rows: Sequence[Row]) -> list[RowResult | None]:
    """Send all rows in one statement, in one round trip; rows that are too long for that, as ``by_row``.

    Raises:
        psycopg.Error: nothing was written, or the connection was lost while committing.
    """
    as_text = Transformer(connection)
    arrays = [_array(values, as_text) for values in zip(*rows, strict=True)]
    if sum(map(len, arrays)) > MOST_CHARACTERS:
        return by_row(connection, statements, rows)
    cursor: RawCursor[Any] = RawCursor(connection, row_factory=tuple_row)
    with _without_abort_warnings(), _transaction(connection), connection.pipeline():
        connection.execute(BEGIN, prepare=False)
        connection.execute(statement("write_settings").encode(), prepare=True)
        cursor.execute(statements.insert_batch, arrays, prepare=True)
        connection.execute("COMMIT", prepare=False)
    results: list[RowResult | None] = [None] * len(rows)
    for answer in cursor.fetchall():
        results[answer[0] - 1] = RowResult(answer[1], answer[2], answer[3:])
    return results


def _array(values: Sequence[Any], as_text: abc.Transformer) -> str:
    """Return the values of a column as an array of text, in the form in which PostgreSQL reads one.

    Raises:
        psycopg.DataError: a value cannot be a text.
    """
    try:  # all at once, with a character between them that no text contains
        return '{"' + _escaped("\0".join(values)).replace("\0", '","') + '"}'
    except TypeError:  # not all of them are texts
        texts = (value if value is None or isinstance(value, str) else _text(value, as_text) for value in values)
        return "{" + ",".join("NULL" if text is None else f'"{_escaped(text)}"' for text in texts) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _text(value: Any, as_text: abc.Transformer) -> str:
    """Return a value as psycopg would send it as text."""
    data = as_text.get_dumper(value, PyFormat.TEXT).dump(value)
    if data is None or b"\0" in (data := bytes(data)):
        raise psycopg.DataError("a value is not a text")
    return data.decode(as_text.encoding)


def alone(connection: Connection, statements: Statements, row: Row) -> RowResult:
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
    return RowResult(True, True, answer[2:])
