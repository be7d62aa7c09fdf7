-- Purpose: name the schema in which the session finds or would create the version table; NULL for public, the usual one.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT nullif(coalesce((SELECT n.nspname
                        FROM pg_catalog.pg_class c
                        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                        WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({version_table})),
                       pg_catalog.current_schema())::pg_catalog.text, 'public')
