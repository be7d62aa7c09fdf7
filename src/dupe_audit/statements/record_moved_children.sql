-- Purpose: add the children that a batch has moved to the sum of their foreign key.
-- Lock: ROW EXCLUSIVE on dupe_audit.child, until the batch commits.
-- Again: no; once per batch and foreign key, in the batch's own transaction.
UPDATE dupe_audit.child SET moved = moved + {moved} WHERE run_id = {run} AND number = {number}
