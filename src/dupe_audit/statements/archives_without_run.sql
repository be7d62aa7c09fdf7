-- Purpose: list the archives whose rows could belong to a table, and whose run is missing from the ledger.
-- Lock: ACCESS SHARE on dupe_audit.run, until the transaction ends.
-- Again: yes, it only reads.
SELECT o.name
FROM ({run_objects}) AS o
WHERE pg_catalog.starts_with(o.name, 'archive_')
  -- The columns of an archive are compared only if it has no run.
  AND CASE WHEN NOT EXISTS (SELECT FROM dupe_audit.run r WHERE r.id::pg_catalog.text = o.run) THEN o.fits END
