-- Purpose: list the batches that were sent to shards and whose result is not recorded, because the client was killed.
-- Lock: ACCESS SHARE on dupe_audit.batch, until the transaction ends.
-- Again: yes, it only reads.
SELECT number FROM dupe_audit.batch WHERE run_id = {run} AND archived = 0 AND restored = 0 AND spared = 0
