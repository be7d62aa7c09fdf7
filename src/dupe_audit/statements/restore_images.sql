-- Purpose: change back the rows that are still as the run left them, and mark them in the same statement.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits.
-- Again: yes; a row that is marked as restored is not changed twice.
WITH chosen AS MATERIALIZED (
    SELECT * FROM {archive}
    WHERE dupe_audit_id BETWEEN {low} AND {high} AND dupe_audit_restored_at IS NULL AND dupe_audit_kind <> 'removed'
    FOR UPDATE
), put AS (
    UPDATE {only}{table} t
    SET {set_back}
    FROM chosen a
    JOIN {after} f ON f.dupe_audit_batch = a.dupe_audit_batch AND f.dupe_audit_n = a.dupe_audit_n
    WHERE {t_is_f} AND pg_catalog.record_image_eq(ROW({image_compared}), ROW({f_compared}))
    RETURNING {t_images}, a.dupe_audit_id, a.dupe_audit_batch,
              pg_catalog.record_image_eq(ROW({image_compared}), ROW({a_compared_image})) AS dupe_audit_as_before,
              -- The second comparison matters only if a trigger wrote something.
              pg_catalog.record_image_eq(ROW({image_compared}), ROW({a_compared_image}))
                  OR pg_catalog.record_image_eq(ROW({image_compared}), ROW({a_expected})) AS dupe_audit_as_expected
), passed_on AS (
    -- If an earlier batch changed the same row, its record gets what a trigger wrote this time, unless the application
    -- changed the row between the two batches: then the row is not as the earlier batch left it.
    UPDATE {after} f
    SET {set_passed_on}
    FROM put
    JOIN chosen a ON a.dupe_audit_id = put.dupe_audit_id
    WHERE NOT put.dupe_audit_as_before AND f.dupe_audit_batch < put.dupe_audit_batch AND {put_is_f}
      AND pg_catalog.record_image_eq(ROW({f_compared}), ROW({a_compared_image}))
), marked AS (
    UPDATE {archive} a
    SET dupe_audit_restored_at = pg_catalog.clock_timestamp(), dupe_audit_problem = NULL
    FROM put
    WHERE a.dupe_audit_id = put.dupe_audit_id
    RETURNING 1
), noted AS (
    UPDATE {archive} a
    SET dupe_audit_problem = CASE WHEN EXISTS (
            SELECT FROM {after} f JOIN {only}{table} t ON {t_is_f}
            WHERE f.dupe_audit_batch = c.dupe_audit_batch AND f.dupe_audit_n = c.dupe_audit_n)
        THEN 'the row was changed since' ELSE 'the row was deleted since, or its primary key was changed' END
    FROM chosen c
    WHERE a.dupe_audit_id = c.dupe_audit_id AND c.dupe_audit_id NOT IN (SELECT put.dupe_audit_id FROM put)
    RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM chosen) AS chosen,
       (SELECT pg_catalog.count(*) FROM put) AS put,
       (SELECT pg_catalog.count(*) FROM marked) AS marked,
       (SELECT pg_catalog.count(*) FROM noted) AS noted,
       (SELECT pg_catalog.count(*) FROM put WHERE NOT put.dupe_audit_as_expected) AS changed
