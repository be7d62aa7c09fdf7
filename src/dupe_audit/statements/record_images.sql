-- Purpose: enter into the ledger how many rows a batch has changed in the table or changed back, in the batch's own transaction.
-- Lock: ROW EXCLUSIVE on dupe_audit.batch and dupe_audit.run, until the batch commits.
-- Again: no; once after record_batch.
WITH entered AS (
    UPDATE dupe_audit.batch SET amended = {amended}, merged = {merged}, reverted = {reverted}
    WHERE run_id = {run} AND number = {batch}
)
UPDATE dupe_audit.run SET amended = amended + {amended}, merged = merged + {merged}, reverted = reverted + {reverted} WHERE id = {run}
