-- Purpose: find the table of a run r: by the oid that follows a rename, or by the name that came with a dump.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads; a part of other statements.
-- A dump writes the name of a table, but the oid of one that was dropped, and that oid can be another table's elsewhere.
-- So where the oid is still the one of the run's beginning, the name has to be too, or the ledger is where it was made.
SELECT c.oid
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = coalesce(r.relation::pg_catalog.oid, r.relid) AND c.relkind IN ('r', 'p')
  AND ((n.nspname = r.schema_name AND c.relname = r.table_name)
       OR r.relation::pg_catalog.oid <> r.relid
       OR (r.relation IS NOT NULL AND r.ledger_oid = 'dupe_audit.run'::pg_catalog.regclass::pg_catalog.oid))
