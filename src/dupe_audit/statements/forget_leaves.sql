-- Purpose: remove the leaves of a purged run from the ledger, except those that still have its index.
-- Lock: ROW EXCLUSIVE on dupe_audit.leaf, until the transaction ends.
-- Again: yes.
DELETE FROM dupe_audit.leaf WHERE run_id = {run} AND index_name IS NULL
