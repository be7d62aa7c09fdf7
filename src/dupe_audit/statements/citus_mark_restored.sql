-- Purpose: mark the rows of a batch as restored.
-- Lock: ROW EXCLUSIVE on the archive, until the batch commits.
-- Again: no; once per batch.
UPDATE {archive} SET dupe_audit_restored_at = pg_catalog.clock_timestamp(), dupe_audit_problem = NULL
WHERE dupe_audit_id BETWEEN {low} AND {high} AND dupe_audit_restored_at IS NULL
