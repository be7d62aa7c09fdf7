-- Purpose: find the first of several schemas that has a table of that name.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT n.nspname::pg_catalog.text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = {table_name} AND n.nspname::pg_catalog.text = ANY ({schemas})
  AND c.relkind NOT IN ('i', 'I', 'S', 't', 'c')
ORDER BY pg_catalog.array_position({schemas}, n.nspname::pg_catalog.text)
LIMIT 1
