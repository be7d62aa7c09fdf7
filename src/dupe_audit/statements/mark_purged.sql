-- Purpose: record that a run's archive was dropped.
-- Lock: ROW EXCLUSIVE on the ledger.
-- Again: yes; the time of the first purge stays.
UPDATE dupe_audit.run SET purged_at = coalesce(purged_at, pg_catalog.clock_timestamp()) WHERE id = {run}
