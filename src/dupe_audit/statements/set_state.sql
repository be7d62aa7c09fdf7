-- Purpose: move a run to another state.
-- Lock: ROW EXCLUSIVE on the ledger.
-- Again: yes.
UPDATE dupe_audit.run
SET state = {state},
    finished_at = CASE WHEN {state} = 'cleaning' THEN NULL ELSE pg_catalog.clock_timestamp() END
WHERE id = {run}
