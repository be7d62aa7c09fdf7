"""Our statements that change rows, without what protects them: they rely on what a batch saw before its locks."""

import re
from collections.abc import Callable
from contextlib import suppress

from psycopg.errors import LockNotAvailable
from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.model import UniqueKey
from torture.policies import AMEND, ARCHIVE, MERGE, rule
from torture.world import FEW_ROWS, World

#: Rows as a batch has seen them before it has locked them.
SNAPSHOT = "CREATE TEMPORARY TABLE IF NOT EXISTS first_snapshot (LIKE tt) ON COMMIT DELETE ROWS"

#: in the statement that locks the rows of a batch, where these are listed
LISTED = re.compile(r"INSERT INTO pg_temp.dupe_audit_locked.*?FROM (\S+) s\n.*?(s\.n BETWEEN \d+ AND \d+)", re.DOTALL)

#: a survivor of a batch that has moved its extras; without children, for the reference of a child locks it too
SURVIVOR = (
    "SELECT v.id FROM pg_temp.dupe_audit_locked l JOIN tt v ON v.ctid = l.s_tid "
    "WHERE NOT EXISTS (SELECT FROM child c WHERE c.parent = v.id) ORDER BY l.n LIMIT 1"
)


def _clean_interrupted(policy: str, rows: str, kind: str) -> Callable[[str, str], None]:
    """Return a program that cleans once. Each batch reads its rows, and only then the application changes one of them.

    In the first pass a batch spares a row that was changed since it was ranked. A later one locks and writes it.

    Args:
        policy: what becomes of the extras.
        rows: which rows of a batch: its survivors (s1), or its extras (e1).
        kind: how the application changes one.
    """

    def program(url: str, name: str) -> None:
        def interrupt(_connection, cursor, statement, *_) -> None:
            if listed := LISTED.search(statement):
                looked_at = f"SELECT * FROM tt WHERE id IN (SELECT {rows} FROM {listed[1]} s WHERE {listed[2]})"
                chosen = cursor.connection.execute(f"INSERT INTO first_snapshot {looked_at} RETURNING id").fetchone()
                change = "SELECT change_row(%s, %s, '', md5(clock_timestamp()::text))"
                application.execute(change, (kind, *chosen))

        engine = create_engine(
            url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"application_name": name}
        )
        event.listen(engine, "before_cursor_execute", interrupt)
        with World(url).connect("torture application") as application, engine.connect() as connection:
            connection.exec_driver_sql(SNAPSHOT)
            list(cleanup(connection, UniqueKey(table="tt", columns=("k",)), rule(policy, FEW_ROWS, partial=False)))
        engine.dispose()

    return program


def _clean_intruded(kind: str) -> Callable[[str, str], None]:
    """Return a program that cleans once. Before a batch ends, the application changes one of its survivors if it can.

    Args:
        kind: how the application changes one.
    """

    def program(url: str, name: str) -> None:
        def intrude(_connection, cursor, statement, *_) -> None:
            if "DELETE FROM ONLY" not in statement:
                return
            with cursor.connection.cursor() as own:
                chosen = own.execute(SURVIVOR).fetchone()
            if chosen:
                change = "SELECT change_row(%s, %s, 'intruded', md5(clock_timestamp()::text))"
                with suppress(LockNotAvailable):
                    application.execute(change, (kind, *chosen))
                intrusions.append(chosen)

        engine = create_engine(
            url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"application_name": name}
        )
        intrusions: list[tuple[int]] = []
        event.listen(engine, "after_cursor_execute", intrude)
        with World(url).connect("torture application") as application, engine.connect() as connection:
            application.execute("SET lock_timeout = '50ms'")
            list(cleanup(connection, UniqueKey(table="tt", columns=("k",)), rule(ARCHIVE, FEW_ROWS, partial=False)))
        engine.dispose()
        assert intrusions

    return program


#: by what the application does to a survivor
INTRUDED = {kind: _clean_intruded(kind) for kind in ("delete", "key")}

#: a survivor gets more of what is merged, and an extra another status than the one that is amended
INTERRUPTED = {MERGE: _clean_interrupted(MERGE, "s1", "hits"), AMEND: _clean_interrupted(AMEND, "e1", "status")}


def replaced(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """Return what replaces parts of a statement."""

    def careless(text: str) -> str:
        for part, other in pairs:
            assert text.count(part) == 1, part
            text = text.replace(part, other)
        return text

    return careless


#: a survivor's own value is the one of the first snapshot
MERGE_FROM_FIRST_SNAPSHOT = replaced(
    ("SELECT v.ctid, 0, {v_columns}", "SELECT l.s_tid, 0, {v_columns}"),
    (
        "AS l\n    JOIN ONLY {table} v ON v.ctid = l.s_tid",
        "AS l\n    JOIN ONLY {table} latest ON latest.ctid = l.s_tid JOIN pg_temp.first_snapshot v ON v.id = latest.id",
    ),
)

_JUDGED = "    WHERE {same_key}\n"
_OF_THE_EXTRA = (
    "CROSS JOIN LATERAL (SELECT e.id AS extra_id) AS which CROSS JOIN LATERAL (SELECT {} WHERE e.id = which.extra_id)"
)

#: the new values are computed from the extra as the first snapshot has it
AMEND_FROM_FIRST_SNAPSHOT = replaced(
    (
        "{v_key_values}{new_values}\n",
        "{v_key_values} "
        + _OF_THE_EXTRA.format("{changes} FROM pg_temp.first_snapshot e{new_values}")
        + " AS changes\n",
    ),
)

#: the archive gets the extra as the first snapshot has it
ARCHIVE_FIRST_SNAPSHOT = replaced(
    ("{e_as_before}", "image.*"),
    (_JUDGED, "    " + _OF_THE_EXTRA.format("{e_as_before} FROM pg_temp.first_snapshot e") + " AS image\n" + _JUDGED),
)

#: the lock of a batch on the survivor of a pair: none, or one that the application's foreign keys take
NO_LOCK_ON_SURVIVORS = replaced(("\nFOR {survivor_strength} OF v SKIP LOCKED", ""))
WEAK_LOCK_ON_SURVIVORS = replaced(("{survivor_strength}", "KEY SHARE"))

#: rows are changed back whatever they are
CHANGE_BACK_ANYTHING = replaced(
    (" AND pg_catalog.record_image_eq(ROW({image_compared}), ROW({f_compared}))", ""),
    ("FROM put WHERE NOT put.", "FROM put WHERE false AND NOT put."),
)
