-- Purpose: enter a leaf or an inner level of a tree into the ledger, unless it is recorded; return its number and its index.
-- Lock: ROW EXCLUSIVE on dupe_audit.leaf, until the transaction ends.
-- Again: yes.
INSERT INTO dupe_audit.leaf AS l (run_id, relation, schema_name, table_name)
VALUES ({run}, {relid}::pg_catalog.oid::pg_catalog.regclass, {schema_name}, {table_name})
ON CONFLICT (run_id, relation) DO UPDATE SET schema_name = excluded.schema_name, table_name = excluded.table_name
RETURNING l.id, l.index_name, l.building
