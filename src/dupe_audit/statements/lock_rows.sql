-- Purpose: lock the extras of one batch and their survivors, and note where each locked row is.
-- Lock: FOR UPDATE on those rows, in one fixed order, until the batch commits; it skips rows that others have locked.
-- Again: yes; in a new transaction, because its locks end with its transaction.
-- Because it waits for no row, it cannot deadlock with the application.
-- Materialized: if another session has changed a row, the server repeats the join for it. A UNION ALL that is merged into the
-- join would then start again, and a survivor of several extras would be noted twice for the first of them.
INSERT INTO pg_temp.dupe_audit_locked (n, survivor, tid)
WITH w AS MATERIALIZED (
    SELECT n, false AS survivor, e_tid AS tid, {e_identity} FROM {stage} WHERE n BETWEEN {low} AND {high}
    UNION ALL
    SELECT n, true, s_tid, {s_identity} FROM {stage} WHERE n BETWEEN {low} AND {high}
)
SELECT w.n, w.survivor, t.ctid
FROM w
JOIN ONLY {table} t ON {t_where_staged} AND {t_is_w}
ORDER BY {t_identity_order}
FOR UPDATE OF t SKIP LOCKED
