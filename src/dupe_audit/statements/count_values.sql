-- Purpose: compute an expression for every row of a table, by counting its values. It is a part of path_problems.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count({value}) FROM {source}
