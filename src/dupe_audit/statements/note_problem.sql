-- Purpose: note on an archived row, or on a recorded child, why it could not go back.
-- Lock: ROW EXCLUSIVE on the archive or the record.
-- Again: yes.
UPDATE {table} SET dupe_audit_problem = {problem} WHERE dupe_audit_id = {id}
