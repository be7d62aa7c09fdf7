-- Purpose: list the foreign keys whose children a run moves, with their sums.
-- Lock: ACCESS SHARE on dupe_audit.child, until the transaction ends.
-- Again: yes, it only reads.
SELECT * FROM dupe_audit.child WHERE run_id = {run} ORDER BY number
