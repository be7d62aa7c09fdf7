-- Purpose: record that the constraint exists and is verified.
-- Lock: ROW EXCLUSIVE on the ledger.
-- Again: yes.
UPDATE dupe_audit.run SET building = false, constraint_name = {name} WHERE id = {run}
