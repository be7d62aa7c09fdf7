-- Purpose: clear the reasons why children could not be pointed back, before the next try.
-- Lock: ROW EXCLUSIVE on the record, until the transaction ends.
-- Again: yes.
UPDATE {record} SET dupe_audit_problem = NULL
WHERE dupe_audit_returned_at IS NULL AND dupe_audit_id BETWEEN {low} AND {high} AND dupe_audit_problem <> ''
