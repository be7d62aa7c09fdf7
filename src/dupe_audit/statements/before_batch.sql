-- Purpose: return the number of the last row below the batch that is restored next; 0 if there is none. It is part of the query for the next rows (restore_window).
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
-- The rows of a batch are numbered without others in between, so a backward search reads no more than the batch.
SELECT coalesce((
    SELECT lower.dupe_audit_id FROM {archive} lower
    WHERE lower.dupe_audit_restored_at IS NULL AND lower.dupe_audit_id < {below} AND lower.dupe_audit_batch <> top.dupe_audit_batch
    ORDER BY lower.dupe_audit_id DESC LIMIT 1), 0)
FROM (
    SELECT a.dupe_audit_batch FROM {archive} a
    WHERE a.dupe_audit_restored_at IS NULL AND a.dupe_audit_id < {below}
    ORDER BY a.dupe_audit_id DESC LIMIT 1
) AS top
