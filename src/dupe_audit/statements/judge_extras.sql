-- Purpose: with a new snapshot, take every extra that must not be removed off the list, so that none of its children is moved.
-- Lock: ACCESS SHARE on the table and the children, until the batch commits; the rows are locked already.
-- Again: yes; after lock_children, in the same READ COMMITTED transaction.
WITH judged AS MATERIALIZED (
    SELECT l.n
    FROM pg_temp.dupe_audit_locked l
    JOIN ONLY {table} e ON e.ctid = l.e_tid{e_key_values}
    JOIN ONLY {table} v ON v.ctid = l.s_tid{v_key_values}
    LEFT JOIN (SELECT n, pg_catalog.count(*) AS children FROM pg_temp.dupe_audit_locked_child GROUP BY n) AS own ON own.n = l.n
    WHERE {same_key}
      AND ({same_data} OR NOT {refuse_divergent})
      AND {e_unreferenced_by_others}
      -- Every child that is visible now has to be among the locked ones.
      AND {e_children} = coalesce(own.children, 0)
), spared AS (
    DELETE FROM pg_temp.dupe_audit_locked l
    WHERE NOT EXISTS (SELECT FROM judged j WHERE j.n = l.n)
)
SELECT pg_catalog.count(*) FROM judged
