-- Purpose: let the planner show whether a new value depends only on the rows of its group: if so, the planner knows that the condition is false.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
EXPLAIN (FORMAT JSON, COSTS false) SELECT
FROM ONLY {table} e CROSS JOIN ONLY {table} v CROSS JOIN (SELECT 2::pg_catalog.int8 AS place) AS s{new_values}
WHERE {value} IS NULL AND {value} IS NOT NULL
