-- Purpose: open a run in the ledger, and return its id.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: no; callers look for an open run first (runs), while they hold the run lock.
INSERT INTO dupe_audit.run (relid, relation, ledger_oid, schema_name, table_name, key_columns, key_expressions, predicate, key_numbers, column_names, column_numbers, nulls_not_distinct, constraint_name,
    keep, order_by, order_expressions, directions, exact, divergent, changed_columns, changed_values, merged_columns, merged_by, merged_by_sql, on_reference, ignored, batch_size, pause, max_replica_lag, state, revision, software_version)
VALUES ({relid}, {relid}::pg_catalog.oid::pg_catalog.regclass, 'dupe_audit.run'::pg_catalog.regclass::pg_catalog.oid,
    {schema_name}, {table_name}, {key}, {key_expressions}, {predicate}, ({key_numbers}), (SELECT p.names FROM ({column_places}) AS p), (SELECT p.numbers FROM ({column_places}) AS p), {nulls_not_distinct}, {constraint_name},
    {keep}, {order_by}, {order_expressions}, {directions}, {exact}, {divergent}, {changed_columns}, {changed_values}, {merged_columns}, {merged_by}, {merged_by_sql}, {on_reference}, {ignore}, {batch_size}, {pause}, {max_replica_lag},
    CASE WHEN {keep}::pg_catalog.text IS NULL THEN 'clean' ELSE 'cleaning' END, {revision}, {version})
RETURNING id
