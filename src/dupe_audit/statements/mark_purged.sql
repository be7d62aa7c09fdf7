-- Purpose: record that a run's archive was dropped.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes; the time of the first purge is kept.
UPDATE dupe_audit.run SET purged_at = coalesce(purged_at, pg_catalog.clock_timestamp()) WHERE id = {run}
