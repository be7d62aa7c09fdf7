"""What a statement did to whole tables: the migration's own session counts its scans, the catalog shows new files."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sqlalchemy import Connection

from dupe_audit.statements import statement


class TableCounts(NamedTuple):
    """What a session has counted for one table, and its files."""

    file: int | None = None  #: file number of the table
    unpublished: int = 0  #: sequential scans that the session has not yet added to the shared statistics
    total: int = 0  #: unpublished scans and those in the shared statistics, where other sessions count too
    index_files: frozenset[str] = frozenset()  #: file numbers of the table's indexes


#: oid of a table → its counts
SessionCounts = dict[int, TableCounts]

#: first words of statements that lock no more than any writer does
_WEAK = frozenset(
    """
    SELECT SHOW SET RESET WITH VALUES TABLE EXPLAIN INSERT UPDATE DELETE MERGE COPY FETCH DECLARE CLOSE
    BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE LISTEN NOTIFY UNLISTEN DISCARD PREPARE DEALLOCATE
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

#: seconds; a session publishes its counts once per second, and starts again from zero
_PUBLISHED_AFTER = 0.9


def query_own_session(conn: Connection, sql: str) -> list[Any] | None:
    """Execute a query in the migration's own session, bypassing SQLAlchemy; return None if it fails."""
    cursor: Any = conn.connection.cursor()
    try:
        # psycopg prepares a statement that is executed often, and a prepared statement may keep a snapshot.
        cursor.execute(sql, **({"prepare": False} if conn.dialect.driver in ("psycopg", "psycopg_async") else {}))
        return [tuple(row) for row in cursor.fetchall()]
    except Exception:  # noqa: BLE001 - the migration continues, and reports an error of its session itself
        return None
    finally:
        cursor.close()


def read_counts(conn: Connection, tables: str) -> SessionCounts | None:
    """Return the counts of the migration's own session; None if it does not answer.

    Args:
        conn: the migration's connection.
        tables: an ``oid[]`` expression.
    """
    rows = query_own_session(conn, statement("scratch/trace_work", tables=tables))
    if rows is None:
        return None
    return {
        oid: TableCounts(file, unpublished, total, frozenset((index_files or "").split()))
        for oid, file, unpublished, total, index_files in rows
    }


def work_between(text: str, before: SessionCounts, after: SessionCounts, *, seconds: float | None) -> dict[int, str]:
    """Return what a statement did to each table: ``scan``, ``build`` or ``rewrite``, by the table's oid.

    Args:
        text: the statement. TRUNCATE creates new files and reads nothing, so its work is not counted.
        before: counts before it.
        after: counts after it.
        seconds: since the session published its earlier counts, if the statement committed by itself, else None.
    """
    if re.search(r"\btruncate\b", text, re.IGNORECASE):
        return {}
    work = {}
    for table, now in after.items():
        old = before.get(table, TableCounts())
        scans = now.unpublished - old.unpublished if now.unpublished >= old.unpublished else now.unpublished
        if seconds is not None and seconds > _PUBLISHED_AFTER:
            scans = now.total - old.total  # other sessions count there too, so it is only used if nothing better exists
        if now.file is not None and now.file != old.file:
            work[table] = "rewrite"
        elif now.index_files - old.index_files:
            work[table] = "build"
        elif scans > 0:
            work[table] = "scan"
    return work


def can_lock(text: str) -> bool:
    """Return whether a statement may take a stronger lock than a writer's; True unless it is known not to."""
    return ";" in _bare(text) or first_word(text) not in _WEAK


def first_word(text: str) -> str:
    """Return the first word of a statement, in capitals."""
    word = re.match(r"[\s(]*(\w+)", _bare(text))
    return word[1].upper() if word else ""


def without_comments(text: str) -> str:
    """Return SQL with a space in the place of each comment; a string that looks like a comment is taken for one."""
    return _COMMENT.sub(" ", text)


def _bare(text: str) -> str:
    return without_comments(text).strip().rstrip("; \n\t")
