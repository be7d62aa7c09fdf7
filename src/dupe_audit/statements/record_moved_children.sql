-- Purpose: add the children that a batch has moved to the sum of their foreign key.
-- Lock: ROW EXCLUSIVE on the ledger.
-- Again: no; once per batch, in its transaction.
UPDATE dupe_audit.child SET moved = moved + {moved} WHERE run_id = {run} AND number = {number}
