-- Purpose: list the tables of a schema; without a schema, those that the search path finds.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT c.relname::pg_catalog.text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND CASE WHEN {schema_name}::pg_catalog.text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
           ELSE n.nspname = {schema_name} END
