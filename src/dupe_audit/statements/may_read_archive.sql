-- Purpose: return whether this role may read an archive; a role that only looks at the ledger need not.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.has_table_privilege({archive_name}::pg_catalog.regclass::pg_catalog.oid, 'SELECT')
