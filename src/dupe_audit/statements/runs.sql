-- Purpose: read the runs in the ledger that meet a condition, with their sums and the size of their archives.
-- Lock: ACCESS SHARE on the ledger and the archives, until the transaction ends.
-- Again: yes, it only reads.
SELECT r.id, coalesce(live.oid, r.relid) AS relid, live.name AS relation, r.schema_name, r.table_name, r.key_columns, r.key_expressions, r.predicate AS "where", r.nulls_not_distinct, r.constraint_name, r.building, r.state,
       r.keep, r.order_by, r.order_expressions, r.directions, r.exact, r.divergent, r.changed_columns, r.changed_values, r.merged_columns, r.merged_by, r.merged_by_sql, r.on_reference, r.ignored, r.batch_size, r.pause, r.max_replica_lag,
       r.revision, r.campaign, r.rows_before, r.groups, r.extras, r.archived, r.amended, r.merged, r.restored, r.reverted, r.erased,
       moved.children_moved, moved.children_returned, r.started_at::pg_catalog.text AS started_at,
       r.finished_at::pg_catalog.text AS finished_at, r.purged_at::pg_catalog.text AS purged_at, r.software_version, r.who,
       pg_catalog.pg_total_relation_size(pg_catalog.to_regclass(pg_catalog.format('dupe_audit.archive_%s', r.id))) AS archive_bytes
FROM dupe_audit.run r
LEFT JOIN LATERAL (
    SELECT t.oid, pg_catalog.format('%I.%I', tn.nspname, t.relname) AS name
    FROM pg_catalog.pg_class t
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    WHERE t.oid = ({run_relation})
) AS live ON true
CROSS JOIN LATERAL (
    SELECT coalesce(pg_catalog.sum(c.moved), 0)::pg_catalog.int8 AS children_moved,
           coalesce(pg_catalog.sum(c.returned), 0)::pg_catalog.int8 AS children_returned
    FROM dupe_audit.child c WHERE c.run_id = r.id
) AS moved
WHERE {condition}
ORDER BY {order}
