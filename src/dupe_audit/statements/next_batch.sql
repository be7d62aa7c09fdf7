-- Purpose: return the number of a run's next batch.
-- Lock: ACCESS SHARE on dupe_audit.batch, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce(pg_catalog.max(number), 0) + 1 FROM dupe_audit.batch WHERE run_id = {run}
