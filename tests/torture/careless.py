"""Our statements that change rows, without what protects them: they rely on what a batch saw before its locks."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from dupe_audit import ledger

NEXT_BATCH = ledger.next_batch

#: Rows as the first statement of a batch has seen them, before it has locked them.
SNAPSHOT = "CREATE TEMPORARY TABLE IF NOT EXISTS first_snapshot (LIKE tt) ON COMMIT DELETE ROWS"

#: Stores the listed rows as they are, and waits until the application has changed one of them. It waits in a later
#: pass: the first one spares each row that was changed since it was ranked.
LOOK = """
CREATE OR REPLACE FUNCTION look_first(place text) RETURNS void VOLATILE LANGUAGE plpgsql AS $$
DECLARE
    stage CONSTANT text := (
        SELECT relname FROM pg_class WHERE relnamespace = 'dupe_audit'::regnamespace AND relname ~ '^stage_[0-9]+$'
    );
    newest CONSTANT bigint := (SELECT coalesce(max(seq), 0) FROM imagelog);
    ids bigint[];
BEGIN
    EXECUTE 'SELECT array_agg(DISTINCT ' || place || ') FROM dupe_audit.' || stage INTO ids;
    INSERT INTO pg_temp.first_snapshot SELECT * FROM tt WHERE id = ANY (ids);
    FOR _ IN 1 .. CASE WHEN cardinality(ids) BETWEEN 5 AND 1500 THEN 300 ELSE 0 END LOOP
        EXIT WHEN EXISTS (
            SELECT FROM imagelog WHERE seq > newest AND (after).id = ANY (ids)
            AND ((before).hits, (before).status) IS DISTINCT FROM ((after).hits, (after).status));
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$
"""


def replaced(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """Return what replaces parts of a statement."""

    def careless(text: str) -> str:
        for part, other in pairs:
            assert text.count(part) == 1, part
            text = text.replace(part, other)
        return text

    return careless


def look_first(place: str) -> Mapping[str, Callable[..., int]]:
    """Return what lets a batch read its rows before it locks them: its survivors (s1), or its extras (e1)."""

    def careless(connection: Connection, run_id: int) -> int:
        connection.exec_driver_sql(f"SELECT look_first('{place}')")
        return NEXT_BATCH(connection, run_id)

    return {"dupe_audit.ledger.next_batch": careless}


#: a survivor's own value is the one of the first snapshot
MERGE_FROM_FIRST_SNAPSHOT = replaced(
    ("SELECT v.ctid, 0, {v_columns}", "SELECT l.tid, 0, {v_columns}"),
    (
        "AS l\n    JOIN ONLY {table} v ON v.ctid = l.tid",
        "AS l\n    JOIN ONLY {table} latest ON latest.ctid = l.tid JOIN pg_temp.first_snapshot v ON v.id = latest.id",
    ),
)

_JUDGED = "    WHERE NOT l.survivor\n"
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

#: rows are changed back whatever they are
CHANGE_BACK_ANYTHING = replaced(
    (" AND pg_catalog.record_image_eq(ROW({image_compared}), ROW({f_compared}))", ""),
    ("FROM put WHERE NOT put.", "FROM put WHERE false AND NOT put."),
)
