-- Purpose: count the staged groups in which an extra carries other data than its survivor.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it reads.
SELECT pg_catalog.count(DISTINCT s.s_tid) AS groups, count(*) AS extras
FROM {stage} s
JOIN ONLY {table} e ON {e_is_extra}
JOIN ONLY {table} v ON {v_is_survivor}
WHERE NOT {same_data}
