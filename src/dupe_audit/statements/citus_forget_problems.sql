-- Purpose: clear the reasons why archived rows could not be put back, before the next try.
-- Lock: ROW EXCLUSIVE on the archive, until the transaction ends.
-- Again: yes.
UPDATE {archive} SET dupe_audit_problem = NULL WHERE dupe_audit_restored_at IS NULL AND dupe_audit_problem IS NOT NULL
