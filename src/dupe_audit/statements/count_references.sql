-- Purpose: count, by one foreign key, the children of extras before staging, and those whose survivor cannot be referenced.
-- Lock: ACCESS SHARE on the table and the child, until the transaction ends.
-- Again: yes, it only reads.
WITH pair AS MATERIALIZED ({pairs})
SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE NOT ({v_not_null})) AS unlinked
FROM pair
JOIN ONLY {table} e ON e.ctid = pair.e_tid
JOIN ONLY {table} v ON v.ctid = pair.s_tid
JOIN {source} c ON {condition}
