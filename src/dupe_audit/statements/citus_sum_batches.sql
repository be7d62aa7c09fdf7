-- Purpose: let a run have the sums of its batches.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run r SET archived = sums.archived, restored = sums.restored
FROM (SELECT coalesce(pg_catalog.sum(b.archived), 0)::pg_catalog.int8 AS archived, coalesce(pg_catalog.sum(b.restored), 0)::pg_catalog.int8 AS restored
      FROM dupe_audit.batch b WHERE b.run_id = {run}) AS sums
WHERE r.id = {run}
