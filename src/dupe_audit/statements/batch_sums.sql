-- Purpose: sum up the batches of a run: the rows that they entered into the archive, and those that were restored from it.
-- Lock: ACCESS SHARE on dupe_audit.batch, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce(pg_catalog.sum(archived + amended + merged), 0)::pg_catalog.int8 AS archived,
       coalesce(pg_catalog.sum(restored + reverted), 0)::pg_catalog.int8 AS restored
FROM dupe_audit.batch WHERE run_id = {run}
