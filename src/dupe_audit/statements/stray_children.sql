-- Purpose: tell whether an extra whose children have moved has one again: it came without a lock on its parent.
-- Lock: ACCESS SHARE on the table and the children, until the batch commits.
-- Again: yes; after move_rows, in the same READ COMMITTED transaction.
SELECT EXISTS (SELECT FROM pg_temp.dupe_audit_locked extra
               JOIN ONLY {table} e ON e.ctid = extra.tid
               WHERE NOT extra.survivor AND NOT ({e_unreferenced})) AS any_child
