-- Purpose: note on an archived row, or on a recorded child, why it could not be put or pointed back.
-- Lock: ROW EXCLUSIVE on the archive or the record, until the transaction ends.
-- Again: yes.
UPDATE {table} SET dupe_audit_problem = {problem} WHERE dupe_audit_id = {id}
