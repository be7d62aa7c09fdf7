-- Purpose: let the survivors of the extras that this batch has archived take over values of their group; archive the survivors as they were.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits; the rows are locked already.
-- Again: no; once per batch, after move_rows, in the same READ COMMITTED transaction.
WITH dupe_audit_member AS MATERIALIZED (
    -- The extras are read from the archive, so that exactly those that left are merged. User SQL follows, so no name here may be a table's.
    SELECT l.s_tid AS dupe_audit_tid, a.dupe_audit_n AS dupe_audit_place, {a_columns}
    FROM {archive} a
    JOIN pg_temp.dupe_audit_locked l ON l.n = a.dupe_audit_n
    WHERE a.dupe_audit_id >= {first_id} AND a.dupe_audit_batch = {batch}
    UNION ALL
    SELECT v.ctid, 0, {v_columns}
    FROM (SELECT DISTINCT l.s_tid FROM pg_temp.dupe_audit_locked l) AS l
    JOIN ONLY {table} v ON v.ctid = l.s_tid
), dupe_audit_survivor AS MATERIALIZED (
    SELECT dupe_audit_tid AS tid, pg_catalog.max(dupe_audit_place) AS n
    FROM dupe_audit_member GROUP BY dupe_audit_tid HAVING pg_catalog.max(dupe_audit_place) > 0
), dupe_audit_merged AS MATERIALIZED (
    SELECT v.ctid AS tid, dupe_audit_survivor.n, {v_identity_as_survivor}, {v_key_as_k}, {v_as_before}, {merged_values}
    FROM dupe_audit_survivor
    JOIN ONLY {table} v ON v.ctid = dupe_audit_survivor.tid{v_key_values}{merge_sources}
), changed AS (
    UPDATE ONLY {table} t
    SET {set_columns}
    FROM dupe_audit_merged j
    WHERE t.ctid = j.tid AND NOT {j_is_merged}
    RETURNING {t_columns}, j.n AS dupe_audit_n, {j_before}, {j_survivor}, {t_still_key} AS dupe_audit_still
), after AS (
    INSERT INTO {after} ({columns}, dupe_audit_batch, dupe_audit_n)
    SELECT {changed_columns}, {batch}, changed.dupe_audit_n FROM changed
), archived AS (
    INSERT INTO {archive} ({columns}, {survivor_columns}, dupe_audit_batch, dupe_audit_kind, dupe_audit_n{and_leaf})
    SELECT {changed_before}, {changed_survivor}, {batch}, 'merged', changed.dupe_audit_n{and_its_leaf} FROM changed
    RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM dupe_audit_merged j WHERE NOT {j_is_merged}) AS judged,
       (SELECT pg_catalog.count(*) FROM changed) AS changed,
       (SELECT pg_catalog.count(*) FROM archived) AS archived,
       (SELECT pg_catalog.count(*) FROM changed WHERE NOT changed.dupe_audit_still) AS other_keys
