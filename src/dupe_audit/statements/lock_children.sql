-- Purpose: lock the children of the locked extras, by one foreign key, and note how many each extra has.
-- Lock: on those rows as strong as their update will need, waiting for nobody: it cannot deadlock with the application.
-- Again: yes, after lock_rows, in the same transaction. No new child can come: its parent is locked.
INSERT INTO pg_temp.dupe_audit_locked_child (n)
SELECT extra.n
FROM pg_temp.dupe_audit_locked extra
JOIN pg_temp.dupe_audit_locked kept ON kept.n = extra.n AND kept.survivor
JOIN ONLY {table} e ON e.ctid = extra.tid
JOIN ONLY {table} v ON v.ctid = kept.tid
JOIN {source} c ON {condition}
-- A survivor that has no value in the referenced columns could not be pointed at.
WHERE NOT extra.survivor AND {v_not_null}
FOR {strength} OF c SKIP LOCKED
