-- Purpose: with a new snapshot, judge the locked rows again, change those that are still extras, and archive them as they were.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits; the rows are locked already.
-- Again: no; once per batch, after lock_rows, in the same READ COMMITTED transaction.
WITH judged AS MATERIALIZED (
    SELECT l.e_tid AS tid, l.n, s.place, {v_identity_as_survivor}, {v_key_as_k}, {e_as_before}, {changes}
    FROM pg_temp.dupe_audit_locked l
    -- The bounds let the planner read a batch's part of the list.
    JOIN {stage} s ON s.n = l.n AND s.n BETWEEN {low} AND {high}
    JOIN ONLY {table} e ON e.ctid = l.e_tid{e_key_values}
    JOIN ONLY {table} v ON v.ctid = l.s_tid{v_key_values}{new_values}
    WHERE {same_key}
      AND {e_amends}
), changed AS (
    UPDATE ONLY {table} t
    SET {set_columns}
    FROM judged j
    WHERE t.ctid = j.tid AND {t_still_key}
    -- Names that no column of the table can have.
    RETURNING {t_columns}, j.n AS dupe_audit_n, j.place AS dupe_audit_place, {j_before}, {j_survivor}, {t_still_key} AS dupe_audit_still
), after AS (
    INSERT INTO {after} ({columns}, dupe_audit_batch, dupe_audit_n)
    SELECT {changed_columns}, {batch}, changed.dupe_audit_n FROM changed
), archived AS (
    INSERT INTO {archive} ({columns}, {survivor_columns}, dupe_audit_batch, dupe_audit_kind, dupe_audit_n, dupe_audit_number{and_leaf})
    SELECT {changed_before}, {changed_survivor}, {batch}, 'amended', changed.dupe_audit_n, changed.dupe_audit_place{and_its_leaf} FROM changed
    RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM judged) AS judged,
       (SELECT pg_catalog.count(*) FROM changed) AS changed,
       (SELECT pg_catalog.count(*) FROM archived) AS archived,
       (SELECT pg_catalog.count(*) FROM changed WHERE changed.dupe_audit_still) AS still_extras
