-- Purpose: record the name of the constraint, and that no build is unfinished.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run SET building = false, constraint_name = {name} WHERE id = {run}
