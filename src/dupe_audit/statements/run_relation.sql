-- Purpose: find the table of a run r: by the oid that follows a rename, or by the name that came with a dump.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads; a part of other statements.
-- A dump writes a regclass as a name, but that of a dropped table as its oid, which can be another table's in another database.
-- So an unchanged oid counts only if the name is unchanged too, or if the ledger is still in the database that created it.
SELECT c.oid
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = coalesce(r.relation::pg_catalog.oid, r.relid) AND c.relkind IN ('r', 'p')
  AND ((n.nspname = r.schema_name AND c.relname = r.table_name)
       OR r.relation::pg_catalog.oid <> r.relid
       OR (r.relation IS NOT NULL AND r.ledger_oid = 'dupe_audit.run'::pg_catalog.regclass::pg_catalog.oid))
