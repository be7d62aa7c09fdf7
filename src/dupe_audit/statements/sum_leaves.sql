-- Purpose: set the counts of a run on a tree to the sums of its leaves.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run r
SET groups = leaves.groups, extras = r.archived + r.amended + leaves.extras, rows_before = leaves.rows
FROM (SELECT pg_catalog.sum(l.groups) AS groups, pg_catalog.sum(l.extras) AS extras, pg_catalog.sum(l.rows_before) AS rows
      FROM dupe_audit.leaf l WHERE l.run_id = {run}) AS leaves
WHERE r.id = {run}
