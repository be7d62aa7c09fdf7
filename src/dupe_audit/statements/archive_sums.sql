-- Purpose: count the rows of an archive, and those that are restored.
-- Lock: none on application objects.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS archived, pg_catalog.count(dupe_audit_restored_at) AS restored FROM {archive}
