-- Purpose: with a new snapshot, let go of every extra that may not leave, so that no child of it is moved.
-- Lock: none beyond the row locks that the batch holds already.
-- Again: yes, after lock_children, in the same READ COMMITTED transaction.
WITH judged AS MATERIALIZED (
    SELECT extra.n
    FROM pg_temp.dupe_audit_locked extra
    JOIN pg_temp.dupe_audit_locked kept ON kept.n = extra.n AND kept.survivor
    JOIN ONLY {table} e ON e.ctid = extra.tid
    JOIN ONLY {table} v ON v.ctid = kept.tid
    LEFT JOIN (SELECT n, count(*) AS children FROM pg_temp.dupe_audit_locked_child GROUP BY n) AS own ON own.n = extra.n
    WHERE NOT extra.survivor
      AND {same_key}
      AND ({same_data} OR NOT {refuse_divergent})
      AND {e_unreferenced_by_others}
      -- Every child that can be seen now has to be among those that are locked.
      AND {e_children} = coalesce(own.children, 0)
), spared AS (
    DELETE FROM pg_temp.dupe_audit_locked l
    WHERE NOT l.survivor AND NOT EXISTS (SELECT FROM judged j WHERE j.n = l.n)
)
SELECT count(*) FROM judged
