-- Purpose: let the server read the new values of an extra; it plans the query and executes nothing.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
EXPLAIN SELECT {changes}
FROM ONLY {table} e CROSS JOIN ONLY {table} v CROSS JOIN (SELECT 2::pg_catalog.int8 AS place) AS s{new_values}{judged_values}
