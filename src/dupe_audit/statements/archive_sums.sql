-- Purpose: count the rows of an archive, and those of them that were restored.
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS archived, pg_catalog.count(dupe_audit_restored_at) AS restored FROM {archive}
