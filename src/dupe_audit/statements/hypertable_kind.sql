-- Purpose: read from the catalog of TimescaleDB whether a table is a hypertable or one of its chunks; no row for another table.
-- Lock: ACCESS SHARE on _timescaledb_catalog.hypertable, until the transaction ends.
-- Again: yes, it only reads. Callers check first whether the catalog exists (hypertable_catalog).
SELECT CASE WHEN c.oid = {relid}::pg_catalog.oid THEN 'hypertable'
            ELSE 'chunk of ' || c.oid::pg_catalog.regclass::pg_catalog.text END AS kind
FROM _timescaledb_catalog.hypertable h
JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = h.table_name
WHERE c.oid = {relid}::pg_catalog.oid
   OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = {relid}::pg_catalog.oid AND i.inhparent = c.oid)
