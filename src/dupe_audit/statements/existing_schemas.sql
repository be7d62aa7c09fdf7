-- Purpose: list which of some schemas exist.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ({schemas})
