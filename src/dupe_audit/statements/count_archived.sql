-- Purpose: count the archived rows that are not restored.
-- Lock: none on application objects.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FROM {archive} WHERE dupe_audit_restored_at IS NULL
