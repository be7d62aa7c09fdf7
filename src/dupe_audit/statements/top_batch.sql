-- Purpose: return the batch of the row that is restored next. It is part of the query for the next rows (restore_window).
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT top.dupe_audit_batch FROM {archive} top
WHERE top.dupe_audit_restored_at IS NULL AND top.dupe_audit_id < {below}
ORDER BY top.dupe_audit_id DESC LIMIT 1
