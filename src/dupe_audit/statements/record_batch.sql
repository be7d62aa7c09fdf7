-- Purpose: enter a batch into the ledger, in the transaction of the batch itself.
-- Lock: ROW EXCLUSIVE on the ledger.
-- Again: no; a number can be entered once.
WITH entered AS (
    INSERT INTO dupe_audit.batch (run_id, number, archived, restored, spared)
    VALUES ({run}, {batch}, {archived}, {restored}, {spared})
)
UPDATE dupe_audit.run SET archived = archived + {archived}, restored = restored + {restored} WHERE id = {run}
