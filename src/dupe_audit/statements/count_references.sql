-- Purpose: count, by one foreign key, the children of extras before staging, and those whose survivor cannot be referenced.
-- Lock: ACCESS SHARE on the table and the child, until the transaction ends.
-- Again: yes, it only reads.
-- LIMIT makes the planner look rows up by position; it expects a third of the table to be extras, and would scan it twice.
WITH pair AS MATERIALIZED ({pairs})
SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE NOT ({v_not_null})) AS unlinked
FROM pair
CROSS JOIN LATERAL (SELECT e.* FROM ONLY {table} e WHERE e.ctid = pair.e_tid LIMIT 1) AS e
CROSS JOIN LATERAL (SELECT v.* FROM ONLY {table} v WHERE v.ctid = pair.s_tid LIMIT 1) AS v
JOIN {source} c ON {condition}
