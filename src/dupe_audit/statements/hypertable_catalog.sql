-- Purpose: report whether the catalog of TimescaleDB exists and is a plain table, so that reading it executes no code of other users.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = '_timescaledb_catalog' AND c.relname = 'hypertable' AND c.relkind = 'r' AND NOT c.relrowsecurity
      AND 2 = (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = c.oid AND a.attname IN ('schema_name', 'table_name') AND a.atttypid = 'pg_catalog.name'::pg_catalog.regtype)
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
)
