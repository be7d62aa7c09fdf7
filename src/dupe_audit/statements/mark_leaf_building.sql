-- Purpose: record before a build on a leaf that an invalid index of that name is ours to drop, or afterwards that none is unfinished.
-- Lock: ROW EXCLUSIVE on dupe_audit.leaf, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.leaf SET building = {building}, index_name = {name} WHERE id = {leaf}
