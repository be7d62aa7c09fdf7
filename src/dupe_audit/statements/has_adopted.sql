-- Purpose: read whether a run has adopted an index that existed before it.
-- Lock: ACCESS SHARE on dupe_audit.run, until the transaction ends.
-- Again: yes, it only reads.
SELECT r.adopted_index IS NOT NULL FROM dupe_audit.run r WHERE r.id = {run}
