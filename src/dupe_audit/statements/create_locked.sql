-- Purpose: make the list on which a batch notes the rows it could lock; it is empty again at each commit.
-- Lock: none on application objects.
-- Again: yes.
CREATE TEMPORARY TABLE IF NOT EXISTS dupe_audit_locked (n bigint, survivor boolean, tid tid) ON COMMIT DELETE ROWS
