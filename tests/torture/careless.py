"""Our statements that change rows, without what protects them: they rely on what a batch saw before its locks."""

from collections.abc import Callable

#: Rows as the first statement of a batch has seen them, before it has locked them.
SNAPSHOT = "CREATE TEMPORARY TABLE IF NOT EXISTS first_snapshot (LIKE tt) ON COMMIT DELETE ROWS"

#: Waits until the application has changed one of the rows, after the caller's snapshot; not in small batches, with
#: which a cleanup begins, because there it would take long.
CHANGED = """
CREATE OR REPLACE FUNCTION changed_meanwhile(ids bigint[]) RETURNS int VOLATILE LANGUAGE plpgsql AS $$
DECLARE
    newest CONSTANT bigint := (SELECT coalesce(max(seq), 0) FROM imagelog);
BEGIN
    FOR _ IN 1 .. CASE WHEN cardinality(ids) < 200 THEN 0 ELSE 1000 END LOOP
        EXIT WHEN EXISTS (
            SELECT FROM imagelog WHERE seq > newest AND (after).id = ANY (ids)
            AND ((before).hits, (before).status) IS DISTINCT FROM ((after).hits, (after).status));
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN 1;
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


def _look_first(column: str) -> Callable[[str], str]:
    """Return what lets lock_rows read the rows of a batch, and the application change one of them before the locks."""
    return replaced(
        (
            "INSERT INTO pg_temp.dupe_audit_locked",
            f"""WITH first AS MATERIALIZED (
    SELECT t.* FROM tt t WHERE t.id IN (SELECT s.{column} FROM {{stage}} s WHERE s.n BETWEEN {{low}} AND {{high}})
), stored AS (
    INSERT INTO pg_temp.first_snapshot SELECT * FROM first
), waited AS MATERIALIZED (
    SELECT changed_meanwhile(array_agg(id)) FROM first
)
INSERT INTO pg_temp.dupe_audit_locked""",
        ),
        ("FROM (\n    SELECT n, false", "FROM waited CROSS JOIN (\n    SELECT n, false"),
    )


LOOK_AT_SURVIVORS, LOOK_AT_EXTRAS = _look_first("s1"), _look_first("e1")

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
    ("WHERE NOT put.same", "WHERE false"),
)
