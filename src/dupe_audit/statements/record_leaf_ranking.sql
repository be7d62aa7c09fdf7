-- Purpose: record the counts of a ranking of one leaf; rows_before keeps the count of its first ranking.
-- Lock: ROW EXCLUSIVE on dupe_audit.leaf, until the transaction ends.
-- Again: yes, with the counts of the newest ranking.
UPDATE dupe_audit.leaf
SET groups = greatest(groups, {groups}), extras = {extras}, rows_before = coalesce(rows_before, {rows})
WHERE id = {leaf}
