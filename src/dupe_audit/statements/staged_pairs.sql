-- Purpose: return where each staged extra and its survivor are now, if they still have one key.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes, it only reads. It is part of the queries that count collisions.
SELECT e.ctid AS e_tid, v.ctid AS s_tid
FROM {stage} s
JOIN ONLY {table} e ON {e_is_extra}{e_key_values}
JOIN ONLY {table} v ON {v_is_survivor}{v_key_values}
WHERE {s_archives} AND {same_key}
