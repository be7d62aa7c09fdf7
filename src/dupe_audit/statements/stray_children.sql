-- Purpose: report whether an extra whose children have moved has one again: it came without a lock on its parent.
-- Lock: ACCESS SHARE on the table and the children, until the batch commits.
-- Again: yes; after move_rows, in the same READ COMMITTED transaction.
SELECT EXISTS (SELECT FROM pg_temp.dupe_audit_locked l
               JOIN ONLY {table} e ON e.ctid = l.e_tid
               WHERE NOT ({e_unreferenced})) AS any_child
