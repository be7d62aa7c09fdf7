-- Purpose: enter batches into the ledger before their blocks are sent, so that rows of a block that outlives its client have a batch.
-- Lock: ROW EXCLUSIVE on dupe_audit.batch, until the transaction ends.
-- Again: no; each number can be entered once.
INSERT INTO dupe_audit.batch (run_id, number, archived, restored, spared)
SELECT {run}, entered.number, 0, 0, 0 FROM pg_catalog.generate_series({first}::pg_catalog.int8, {last}::pg_catalog.int8) AS entered(number)
