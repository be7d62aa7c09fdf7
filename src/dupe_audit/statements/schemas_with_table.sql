-- Purpose: list the schemas that have a relation of that name.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT n.nspname::pg_catalog.text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = {table_name} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY n.nspname
