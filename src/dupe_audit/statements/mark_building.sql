-- Purpose: record before a build that an invalid index of that name is ours to drop (H52), and that none is adopted, unless this one replaces it.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run
SET building = true, built = true, constraint_name = {name},
    adopted_index = CASE WHEN {keeps_adopted} THEN adopted_index END
WHERE id = {run}
