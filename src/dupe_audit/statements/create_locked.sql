-- Purpose: create the list of the extras that a batch could lock together with their survivors; each commit empties it.
-- Lock: none on the application's tables; the list is temporary.
-- Again: yes.
CREATE TEMPORARY TABLE IF NOT EXISTS dupe_audit_locked (n bigint, e_tid pg_catalog.tid, s_tid pg_catalog.tid) ON COMMIT DELETE ROWS
