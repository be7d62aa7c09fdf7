-- Purpose: count the rows of a table, without those of tables that inherit from it.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FROM ONLY {table}
