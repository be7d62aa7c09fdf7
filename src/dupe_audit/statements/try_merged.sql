-- Purpose: try the survivors of staged extras as they will be after the merge.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: no; each group once.
INSERT INTO pg_temp.dupe_audit_trial ({insertable}, dupe_audit_n)
WITH dupe_audit_pair AS MATERIALIZED (
    SELECT s.n, e.ctid AS e_tid, v.ctid AS v_tid
    FROM {stage} s
    JOIN ONLY {table} e ON {e_is_extra}
    JOIN ONLY {table} v ON {v_is_survivor}
    WHERE s.n BETWEEN {low} AND {high}
), dupe_audit_member AS MATERIALIZED (
    SELECT pair.v_tid AS dupe_audit_tid, pair.n AS dupe_audit_place, {e_columns}
    FROM dupe_audit_pair pair JOIN ONLY {table} e ON e.ctid = pair.e_tid
    UNION ALL
    SELECT v.ctid, 0, {v_columns}
    FROM (SELECT DISTINCT pair.v_tid FROM dupe_audit_pair pair) AS pair
    JOIN ONLY {table} v ON v.ctid = pair.v_tid
)
SELECT {v_merged}, (SELECT pg_catalog.max(pair.n) FROM dupe_audit_pair pair WHERE pair.v_tid = v.ctid)
FROM (SELECT DISTINCT pair.v_tid FROM dupe_audit_pair pair) AS survivor
JOIN ONLY {table} v ON v.ctid = survivor.v_tid{merge_sources}
