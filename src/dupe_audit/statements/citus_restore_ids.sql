-- Purpose: list the archived rows of a part that were not put back, the last one first.
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads. It is a part of citus_restore.
SELECT dupe_audit_id FROM {archive}
WHERE dupe_audit_id BETWEEN {low} AND {high} AND dupe_audit_restored_at IS NULL ORDER BY 1 DESC
