-- Purpose: record that the constraint exists and is verified.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run SET building = false, constraint_name = {name} WHERE id = {run}
