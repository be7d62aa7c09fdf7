-- Purpose: record that no unfinished index is ours any more, so that nobody else's is taken for it.
-- Lock: ROW EXCLUSIVE on the ledger.
-- Again: yes.
UPDATE dupe_audit.run SET building = false WHERE id = {run}
