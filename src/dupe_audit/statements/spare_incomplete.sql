-- Purpose: take the extras of a group off the list of locked rows unless all of them are locked, because its values are merged together.
-- Lock: none on the application's tables; the list is temporary.
-- Again: yes; after lock_rows, in the same transaction.
WITH incomplete AS MATERIALIZED (
    SELECT s.s_tid
    FROM {stage} s
    WHERE s.n BETWEEN {low} AND {high}
    GROUP BY s.s_tid
    HAVING NOT pg_catalog.bool_and(EXISTS (SELECT FROM pg_temp.dupe_audit_locked l WHERE l.n = s.n))
)
DELETE FROM pg_temp.dupe_audit_locked l
USING {stage} s, incomplete i
WHERE s.n = l.n AND s.s_tid OPERATOR(pg_catalog.=) i.s_tid
