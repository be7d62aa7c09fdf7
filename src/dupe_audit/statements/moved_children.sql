-- Purpose: list the foreign keys whose children a run moves, with their sums.
-- Lock: none on application objects.
-- Again: yes, it only reads.
SELECT * FROM dupe_audit.child WHERE run_id = {run} ORDER BY number
