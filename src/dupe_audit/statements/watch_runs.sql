-- Purpose: read the newest runs of the ledger, with the state of their table and index; those most likely at work come first.
-- Lock: ACCESS SHARE on the ledger's table of runs, for the statement.
-- Again: yes, it only reads.
SELECT r.id, coalesce(live.oid, r.relid)::pg_catalog.int8 AS relid, r.schema_name AS schema, r.table_name AS table, r.key_columns AS columns,
       r.constraint_name AS constraint, r.building, r.state, r.revision, r.extras, r.archived, r.amended, r.merged, r.restored, r.reverted,
       CASE WHEN r.exact = 'amend' THEN 'amended' WHEN r.divergent = 'amend' THEN 'archived or amended' ELSE 'archived' END AS outcome,
       r.archived + r.amended + r.merged - r.restored - r.reverted - r.erased AS remaining,
       r.purged_at IS NOT NULL AS purged, r.started_at::pg_catalog.text AS started_at, r.finished_at::pg_catalog.text AS finished_at,
       live.oid IS NOT NULL AS table_exists,
       EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'dupe_audit' AND c.relname = pg_catalog.format('stage_%s', r.id)) AS staged,
       EXISTS (SELECT FROM pg_catalog.pg_constraint con JOIN pg_catalog.pg_index i ON i.indexrelid = con.conindid
               WHERE con.conrelid = live.oid AND con.conname = r.constraint_name AND con.contype = 'u' AND i.indisvalid) AS attached,
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = live.oid AND c.relkind = 'p') AS is_tree,
       (SELECT i.indisvalid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = live.oid AND c.relname = r.constraint_name) AS index_valid
FROM dupe_audit.run r
LEFT JOIN LATERAL ({run_relation}) AS live ON true
ORDER BY r.state = 'cleaning' DESC, r.building DESC, greatest(r.started_at, r.finished_at) DESC, r.id DESC
LIMIT 200
