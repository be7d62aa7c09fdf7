-- Purpose: count the rows that other runs have archived from a run's table since it began, less those that they restored.
-- Lock: ACCESS SHARE on the ledger, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce(pg_catalog.sum(b.archived - b.restored), 0)::pg_catalog.int8
FROM dupe_audit.run r
JOIN dupe_audit.batch b ON b.run_id = r.id
WHERE r.id <> {run} AND ({run_relation}) = {relid}::pg_catalog.oid
  AND b.committed_at >= (SELECT began.started_at FROM dupe_audit.run began WHERE began.id = {run})
