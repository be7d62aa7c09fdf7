-- Purpose: continue a run, with the rule and the spelling of the key that the revision has now.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run
SET relid = {relid}, relation = {relid}::pg_catalog.oid::pg_catalog.regclass,
    ledger_oid = 'dupe_audit.run'::pg_catalog.regclass::pg_catalog.oid, key_numbers = ({key_numbers}),
    key_columns = {key}, key_expressions = {key_expressions}, predicate = {predicate}, index_elements = NULL, index_predicate = NULL,
    (column_names, column_numbers) = ({column_places}),
    (schema_name, table_name) = (SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {relid}::pg_catalog.oid),
    state = 'cleaning', finished_at = NULL, nulls_not_distinct = {nulls_not_distinct},
    keep = {keep}, order_by = {order_by}, order_expressions = {order_expressions}, directions = {directions}, exact = {exact}, divergent = {divergent},
    changed_columns = {changed_columns}, changed_values = {changed_values}, merged_columns = {merged_columns}, merged_by = {merged_by},
    merged_by_sql = {merged_by_sql}, on_reference = {on_reference}, ignored = {ignore},
    batch_size = {batch_size}, pause = {pause}, max_replica_lag = {max_replica_lag}
WHERE id = {run}
