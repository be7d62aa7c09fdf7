-- Purpose: record that a run has no index any more on some leaves and inner levels of its tree.
-- Lock: ROW EXCLUSIVE on dupe_audit.leaf, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.leaf SET building = false, index_name = NULL WHERE id IN ({leaves})
