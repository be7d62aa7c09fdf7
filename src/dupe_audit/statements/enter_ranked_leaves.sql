-- Purpose: record in the ledger what one statement has counted in several leaves; enter the leaves that the ledger lacks.
-- Lock: ROW EXCLUSIVE on dupe_audit.leaf, until the transaction ends.
-- Again: yes.
INSERT INTO dupe_audit.leaf AS l (run_id, relation, schema_name, table_name, rows_before, groups, extras)
SELECT {run}, leaf.relid::pg_catalog.regclass, leaf.schema_name, leaf.table_name, leaf.rows, leaf.groups, leaf.extras
FROM unnest({relids}::pg_catalog.oid[], {schemas}, {tables}, {rows}::pg_catalog.int8[], {groups}::pg_catalog.int8[],
            {extras}::pg_catalog.int8[]) AS leaf(relid, schema_name, table_name, rows, groups, extras)
ON CONFLICT (run_id, relation) DO UPDATE
SET schema_name = excluded.schema_name, table_name = excluded.table_name, extras = excluded.extras,
    groups = greatest(l.groups, excluded.groups), rows_before = coalesce(l.rows_before, excluded.rows_before)
