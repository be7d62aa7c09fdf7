-- Purpose: mark archived rows as restored, put them back by column name in the same statement, and compare what was stored byte for byte.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits.
-- Again: yes; a row that is marked as restored is not put back twice.
-- What was marked is what goes back: the mark locks the row, and looks at it again if another session has changed it.
WITH marked AS (
    UPDATE {archive} a
    SET dupe_audit_restored_at = pg_catalog.clock_timestamp(), dupe_audit_problem = NULL
    WHERE dupe_audit_id BETWEEN {low} AND {high} AND dupe_audit_restored_at IS NULL AND {is_removed}
    RETURNING a.*
), put AS (
    INSERT INTO {table} AS t ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {a_columns} FROM marked a
    RETURNING {t_compared}
)
SELECT (SELECT pg_catalog.count(*) FROM marked) AS marked,
       (SELECT pg_catalog.count(*) FROM put) AS put,
       ({changed}) AS changed
