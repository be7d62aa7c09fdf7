-- Purpose: create the list of rows that this session has amended; where one collides with a third row, it is the one to amend again.
-- Lock: none on the application's tables; the list is temporary.
-- Again: yes.
CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp.dupe_audit_amended (tid pg_catalog.tid)
