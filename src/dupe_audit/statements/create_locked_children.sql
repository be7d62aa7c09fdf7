-- Purpose: create the list of the children that a batch could lock; each commit empties it.
-- Lock: none on the application's tables; the list is temporary.
-- Again: yes.
CREATE TEMPORARY TABLE IF NOT EXISTS dupe_audit_locked_child (n bigint) ON COMMIT DELETE ROWS
