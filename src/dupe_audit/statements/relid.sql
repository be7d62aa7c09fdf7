-- Purpose: find the table by its exact name; without a schema, the one that the search path finds.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT c.oid
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = {table_name}
  AND CASE WHEN {schema_name}::pg_catalog.text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
           ELSE n.nspname = {schema_name} END
