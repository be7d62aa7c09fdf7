-- Purpose: judge the index of one name in many schemas at once, as index_state does for one, with the ledger's run.
-- Lock: none beyond catalogs; ACCESS SHARE on dupe_audit.run, until the transaction ends.
-- Again: yes, it only reads.
SELECT t.schema, state.*
FROM (
    SELECT n.nspname::pg_catalog.text AS schema, c.oid
    FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
    WHERE n.nspname = ANY ({schemas}) AND c.relname = {table_name}
      AND EXISTS (SELECT FROM dupe_audit.run r
                  WHERE r.schema_name = n.nspname AND r.table_name = {table_name} AND r.state = 'enforced'
                    AND r.relation::pg_catalog.oid = c.oid AND r.constraint_name = {constraint_name}
                    AND NOT r.building AND r.revision IS NOT DISTINCT FROM {revision}::pg_catalog.text)
) AS t
CROSS JOIN LATERAL (
{index_state}
) AS state
WHERE state.indrelid = t.oid AND state.valid AND state.ready AND state.same_definition
