-- Purpose: enter a batch into the ledger, in the batch's own transaction.
-- Lock: ROW EXCLUSIVE on dupe_audit.batch and dupe_audit.run, until the batch commits.
-- Again: no; each number can be entered once.
WITH entered AS (
    INSERT INTO dupe_audit.batch (run_id, number, archived, restored, spared)
    VALUES ({run}, {batch}, {archived}, {restored}, {spared})
)
UPDATE dupe_audit.run SET archived = archived + {archived}, restored = restored + {restored} WHERE id = {run}
