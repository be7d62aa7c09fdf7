-- Purpose: record that no unfinished index of the run exists any more, so that another session's does not count as ours.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run SET building = false, built = false WHERE id = {run}
