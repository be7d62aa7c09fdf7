-- Purpose: name those of the given tables that still exist.
-- Lock: none.
-- Again: yes, it only reads.
SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ({tables}) AND c.relkind IN ('r', 'p')
