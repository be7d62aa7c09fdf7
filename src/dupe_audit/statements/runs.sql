-- Purpose: read the ledger.
-- Lock: none on application objects.
-- Again: yes, it reads.
SELECT r.id, r.relid, r.schema_name, r.table_name, r.key_columns, r.nulls_not_distinct, r.constraint_name, r.building, r.state,
       r.keep, r.order_by, r.divergent, r.ignored, r.batch_size, r.pause, r.max_replica_lag,
       r.revision, r.rows_before, r.groups, r.extras, r.archived, r.restored, r.started_at::pg_catalog.text AS started_at,
       r.finished_at::pg_catalog.text AS finished_at, r.purged_at::pg_catalog.text AS purged_at, r.software_version, r.who,
       pg_catalog.pg_total_relation_size(pg_catalog.to_regclass(pg_catalog.format('dupe_audit.archive_%s', r.id))) AS archive_bytes
FROM dupe_audit.run r
WHERE {condition}
ORDER BY r.id
