-- Purpose: open a run in the ledger, and return its id.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: no; callers look for an open run first (runs), while they hold the run lock.
INSERT INTO dupe_audit.run (relid, schema_name, table_name, key_columns, nulls_not_distinct, constraint_name,
    keep, order_by, divergent, on_reference, ignored, batch_size, pause, max_replica_lag, state, revision, software_version)
VALUES ({relid}, {schema_name}, {table_name}, {key}, {nulls_not_distinct}, {constraint_name},
    {keep}, {order_by}, {divergent}, {on_reference}, {ignore}, {batch_size}, {pause}, {max_replica_lag},
    CASE WHEN {keep}::pg_catalog.text IS NULL THEN 'clean' ELSE 'cleaning' END, {revision}, {version})
RETURNING id
