-- Purpose: enter leaves and inner levels into the ledger, unless they are recorded; return their numbers and indexes.
-- Lock: ROW EXCLUSIVE on dupe_audit.leaf, until the transaction ends.
-- Again: yes.
INSERT INTO dupe_audit.leaf AS l (run_id, relation, schema_name, table_name, rows_before)
SELECT {run}, leaf.relid::pg_catalog.regclass, leaf.schema_name, leaf.table_name, leaf.rows
FROM unnest({relids}::pg_catalog.oid[], {schemas}, {tables}, {rows}::pg_catalog.int8[]) AS leaf(relid, schema_name, table_name, rows)
ON CONFLICT (run_id, relation) DO UPDATE SET schema_name = excluded.schema_name, table_name = excluded.table_name
RETURNING l.relation::pg_catalog.oid AS relid, l.id, l.index_name, l.building
