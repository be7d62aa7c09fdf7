-- Purpose: number the rows of a query from 0 on, in their own order, so that a number chooses one.
-- Lock: ACCESS SHARE on the tables of the query.
-- Again: yes, it only reads.
SELECT pg_catalog.row_number() OVER (ORDER BY {columns}) - 1 AS i, {columns}
FROM ({query}) AS q
ORDER BY i
LIMIT {limit}
