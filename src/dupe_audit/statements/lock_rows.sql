-- Purpose: lock the extras of one batch together with their survivors, and note where both rows of each locked pair are.
-- Lock: FOR UPDATE on the extras, FOR SHARE on the survivors (FOR UPDATE if they change), until the batch commits.
-- Again: yes; in a new transaction, because its locks end with its transaction.
-- Because it waits for no row, it cannot deadlock with the application, in whatever order it locks. A pair is noted only if
-- both rows were locked. FOR SHARE stops every update and delete of a survivor; FOR KEY SHARE would let its key change.
-- If another session has changed a row since the snapshot, the server compares its newest version with the list again.
INSERT INTO pg_temp.dupe_audit_locked (n, e_tid, s_tid)
SELECT s.n, e.ctid, v.ctid
FROM {stage} s
JOIN ONLY {table} e ON {e_is_extra}
JOIN ONLY {table} v ON {v_is_survivor}
WHERE s.n BETWEEN {low} AND {high} AND {where_staged}
FOR UPDATE OF e SKIP LOCKED
FOR {survivor_strength} OF v SKIP LOCKED
