-- Purpose: create the list of the rows that a batch could lock; each commit empties it.
-- Lock: none on the application's tables; the list is temporary.
-- Again: yes.
CREATE TEMPORARY TABLE IF NOT EXISTS dupe_audit_locked (n bigint, survivor boolean, tid pg_catalog.tid) ON COMMIT DELETE ROWS
