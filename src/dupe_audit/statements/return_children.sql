-- Purpose: point moved children back at the rows that they referenced, if those are back and the child is as the cleanup left it.
-- Lock: ROW EXCLUSIVE on the child and the record, until the batch commits.
-- Again: yes; a child that is marked as returned is not moved twice.
WITH chosen AS MATERIALIZED (
    SELECT * FROM {record}
    WHERE dupe_audit_id BETWEEN {low} AND {high} AND dupe_audit_returned_at IS NULL
    FOR UPDATE
), back AS (
    UPDATE {source} c
    SET {set_o}
    FROM chosen r
    WHERE {c_is_i} AND {c_still_s} AND EXISTS (SELECT FROM {referenced} e WHERE {e_is_o})
    RETURNING r.dupe_audit_id
), marked AS (
    UPDATE {record} r
    SET dupe_audit_returned_at = pg_catalog.clock_timestamp(), dupe_audit_problem = NULL
    FROM back
    WHERE r.dupe_audit_id = back.dupe_audit_id
    RETURNING 1
), entered AS (
    UPDATE dupe_audit.child SET returned = returned + (SELECT pg_catalog.count(*) FROM marked)
    WHERE run_id = {run} AND number = {number}
)
SELECT (SELECT pg_catalog.count(*) FROM back) AS back, (SELECT pg_catalog.count(*) FROM marked) AS marked
