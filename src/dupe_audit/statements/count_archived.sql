-- Purpose: count the archived rows that were not restored.
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FROM {archive} WHERE dupe_audit_restored_at IS NULL
