-- Purpose: count the rows of a table, without its children by inheritance.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FROM ONLY {table}
