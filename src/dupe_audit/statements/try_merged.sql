-- Purpose: try the survivors of staged extras as they will be after the merge, unless the application has changed the key of either.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: no; each group once.
INSERT INTO pg_temp.dupe_audit_trial ({insertable}, dupe_audit_n)
WITH dupe_audit_extra AS MATERIALIZED (
    SELECT v.ctid AS dupe_audit_tid, s.n AS dupe_audit_place, {e_columns}
    FROM {stage} s
    JOIN ONLY {table} e ON {e_is_extra}{e_key_values}
    JOIN ONLY {table} v ON {v_is_survivor}{v_key_values}
    WHERE s.n BETWEEN {low} AND {high}
      AND {same_key}
), dupe_audit_survivor AS MATERIALIZED (
    SELECT dupe_audit_tid AS tid, pg_catalog.max(dupe_audit_place) AS n FROM dupe_audit_extra GROUP BY dupe_audit_tid
), dupe_audit_member AS MATERIALIZED (
    SELECT * FROM dupe_audit_extra
    UNION ALL
    SELECT v.ctid, 0, {v_columns} FROM dupe_audit_survivor JOIN ONLY {table} v ON v.ctid = dupe_audit_survivor.tid
)
SELECT {v_merged}, dupe_audit_survivor.n
FROM dupe_audit_survivor
JOIN ONLY {table} v ON v.ctid = dupe_audit_survivor.tid{merge_sources}
