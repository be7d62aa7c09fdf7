-- Purpose: record, before a build, that an index of that name is ours to drop if it stays invalid (H52).
-- Lock: ROW EXCLUSIVE on the ledger.
-- Again: yes.
UPDATE dupe_audit.run SET building = true, constraint_name = {name} WHERE id = {run}
