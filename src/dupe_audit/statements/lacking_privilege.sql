-- Purpose: name the privilege without which this role can read nothing of a table; NULL if it has it.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN pg_catalog.format('USAGE ON SCHEMA %I', n.nspname)
            WHEN NOT pg_catalog.has_any_column_privilege(c.oid, 'SELECT') THEN pg_catalog.format('SELECT ON %I.%I', n.nspname, c.relname) END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {schema_name} AND c.relname = {relation_name}
