-- Purpose: record the counts of a ranking; rows_before keeps the count of the run's first ranking.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes, with the counts of the newest ranking.
UPDATE dupe_audit.run
SET groups = greatest(groups, {groups}), extras = archived + amended + {extras}, rows_before = coalesce(rows_before, {rows})
WHERE id = {run}
