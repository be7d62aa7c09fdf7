-- Purpose: list the schemas of the search path, and whether they hold a table other than the version table.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.current_schemas(false)::pg_catalog.text[] AS schemas,
       EXISTS (SELECT FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p') AND c.relname <> {version_table}
                 AND n.nspname = ANY (pg_catalog.current_schemas(false))
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                   AND d.objid = c.oid AND d.deptype = 'e')) AS has_tables
