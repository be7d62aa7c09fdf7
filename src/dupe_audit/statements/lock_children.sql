-- Purpose: lock the children of the locked extras, by one foreign key, and note each child under its extra.
-- Lock: FOR UPDATE or FOR NO KEY UPDATE on those rows, until the batch commits; it skips rows that others have locked.
-- Again: yes; after lock_rows, in the same transaction. No new child can arrive: its parent is locked.
-- Because it waits for no row, it cannot deadlock with the application.
INSERT INTO pg_temp.dupe_audit_locked_child (n)
SELECT l.n
FROM pg_temp.dupe_audit_locked l
JOIN ONLY {table} e ON e.ctid = l.e_tid
JOIN ONLY {table} v ON v.ctid = l.s_tid
JOIN {source} c ON {condition}
-- A survivor with a NULL in the referenced columns cannot be referenced.
WHERE {v_not_null}
FOR {strength} OF c SKIP LOCKED
