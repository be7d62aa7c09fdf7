-- Purpose: find the next rows to restore: the last archived go back first.
-- Lock: none on application objects.
-- Again: yes, it only reads.
SELECT pg_catalog.min(dupe_audit_id) AS low, pg_catalog.max(dupe_audit_id) AS high, pg_catalog.count(*) AS size
FROM (
    SELECT dupe_audit_id FROM {archive}
    WHERE dupe_audit_restored_at IS NULL AND dupe_audit_id < {below}
    ORDER BY dupe_audit_id DESC LIMIT {batch_size}
) AS next
