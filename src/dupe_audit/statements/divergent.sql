-- Purpose: count the staged groups in which an extra differs from its survivor, and those extras.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(DISTINCT s.s_tid) AS groups, pg_catalog.count(*) AS extras
FROM {stage} s
JOIN ONLY {table} e ON {e_is_extra}
JOIN ONLY {table} v ON {v_is_survivor}
WHERE NOT {same_data}
