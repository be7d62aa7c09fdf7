-- Purpose: put archived rows back by column name, mark them in the same statement, and compare what was stored byte for byte.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits.
-- Again: yes; a row that is marked as restored is not put back twice.
WITH chosen AS MATERIALIZED (
    SELECT * FROM {archive}
    WHERE dupe_audit_id BETWEEN {low} AND {high} AND dupe_audit_restored_at IS NULL AND {is_removed}
    FOR UPDATE
), put AS (
    INSERT INTO {table} AS t ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {a_columns} FROM chosen a
    RETURNING {t_compared}
), marked AS (
    UPDATE {archive} a
    SET dupe_audit_restored_at = pg_catalog.clock_timestamp(), dupe_audit_problem = NULL
    FROM chosen c
    WHERE a.dupe_audit_id = c.dupe_audit_id
    RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM chosen) AS chosen,
       (SELECT pg_catalog.count(*) FROM put) AS put,
       (SELECT pg_catalog.count(*) FROM marked) AS marked,
       ({changed}) AS changed
