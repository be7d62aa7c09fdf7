-- Purpose: count the rows that would have to be removed for an index to be unique.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce(pg_catalog.sum(n - 1), 0)::pg_catalog.int8
FROM (SELECT pg_catalog.count(*) AS n FROM {table} {where} GROUP BY {keys}) AS key_value
