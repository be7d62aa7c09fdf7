-- Purpose: drop the lists of locked rows and children.
-- Lock: none on the application's tables; the lists are temporary.
-- Again: yes.
DROP TABLE IF EXISTS pg_temp.dupe_audit_locked, pg_temp.dupe_audit_locked_child
