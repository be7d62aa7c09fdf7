-- Purpose: find the next rows to restore: those archived last are put back first.
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.min(dupe_audit_id) AS low, pg_catalog.max(dupe_audit_id) AS high, pg_catalog.count(*) AS size
FROM (
    SELECT dupe_audit_id FROM {archive}
    WHERE dupe_audit_restored_at IS NULL AND dupe_audit_id < {below} AND {of_batch}
    ORDER BY dupe_audit_id DESC LIMIT {batch_size}
) AS next
