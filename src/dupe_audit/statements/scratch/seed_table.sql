-- Purpose: read the name of a table, and whether rules rewrite an INSERT into it.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT n.nspname, c.relname, c.relhasrules
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = {relid}::pg_catalog.oid
