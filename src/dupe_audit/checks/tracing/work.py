"""What a statement works through: the migration's own session counts its scans, and the catalog shows new files."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection

from dupe_audit.statements import statement

#: table → its file, its scans not handed on yet, its scans in all, and the files of its indexes
Work = dict[int, tuple[int | None, int, int, frozenset[str]]]

#: statements that lock no more than any writer does, by their first word
_MILD = frozenset(
    """
    SELECT SHOW SET RESET WITH VALUES TABLE EXPLAIN INSERT UPDATE DELETE MERGE COPY FETCH DECLARE CLOSE
    BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE LISTEN NOTIFY UNLISTEN DISCARD PREPARE DEALLOCATE
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

#: seconds; a session hands its counts on once a second, and counts from nought again
_FLUSH = 0.9


def own(conn: Connection, sql: str) -> list[Any] | None:
    """Ask the migration's own session, beside SQLAlchemy; None where it does not answer."""
    cursor: Any = conn.connection.cursor()
    try:
        # psycopg prepares what it sees often, and a prepared statement may keep a snapshot.
        cursor.execute(sql, **({"prepare": False} if conn.dialect.driver in ("psycopg", "psycopg_async") else {}))
        return [tuple(row) for row in cursor.fetchall()]
    except Exception:  # noqa: BLE001 - whatever the driver says, the migration goes on, and says it itself
        return None
    finally:
        cursor.close()


def seen(conn: Connection, tables: str) -> Work | None:
    """Return what the session has counted, and which files the tables of the ``oid[]`` expression have."""
    rows = own(conn, statement("scratch/trace_work", tables=tables))
    if rows is None:
        return None
    return {oid: (file, mine, total, frozenset((indexes or "").split())) for oid, file, mine, total, indexes in rows}


def between(text: str, before: Work, now: Work, *, seconds: float | None) -> dict[int, str]:
    """Return what a statement did to each table: ``scan``, ``build`` or ``rewrite``.

    Args:
        text: the statement. TRUNCATE makes new files and reads nothing, so what it did counts for nothing.
        before: as seen before it.
        now: as seen after it.
        seconds: how long it took, if it committed by itself.
    """
    if re.search(r"\btruncate\b", text, re.IGNORECASE):
        return {}
    did = {}
    for table, (file, mine, total, indexes) in now.items():
        was_file, was_mine, was_total, was_indexes = before.get(table, (None, 0, 0, frozenset()))
        scans = mine - was_mine if mine >= was_mine else mine
        if seconds is not None and seconds > _FLUSH:
            scans = total - was_total  # others count there too, so only where there is nothing better
        if file is not None and file != was_file:
            did[table] = "rewrite"
        elif indexes - was_indexes:
            did[table] = "build"
        elif scans > 0:
            did[table] = "scan"
    return did


def can_lock(text: str) -> bool:
    """Tell whether a statement may take more than a writer's lock: all but those known to be mild."""
    return ";" in _bare(text) or first_word(text) not in _MILD


def first_word(text: str) -> str:
    """Return the first word of a statement, in capitals."""
    word = re.match(r"[\s(]*(\w+)", _bare(text))
    return word[1].upper() if word else ""


def _bare(text: str) -> str:
    return _COMMENT.sub(" ", text).strip().rstrip("; \n\t")
