-- Purpose: set the state of a run.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run
SET state = {state},
    finished_at = CASE WHEN {state} = 'cleaning' THEN NULL ELSE pg_catalog.clock_timestamp() END
WHERE id = {run}
