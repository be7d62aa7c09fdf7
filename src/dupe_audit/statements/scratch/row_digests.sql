-- Purpose: return a digest of each row of a table.
-- Lock: ACCESS SHARE.
-- Again: yes, it only reads.
SELECT pg_catalog.md5(ROW({columns})::pg_catalog.text) FROM {table}
