-- Purpose: lock the extras of one batch and their survivors by primary key, and list those that could be locked.
-- Lock: FOR UPDATE on those rows, in one fixed order, until the batch commits; rows that others have locked are skipped.
-- Again: yes; in a new transaction, because its locks end with its transaction.
-- On a reference table, every other writer of the table waits meanwhile, whichever node it is on.
-- The list is not temporary, because a transaction over several servers must not use a temporary table.
INSERT INTO {locked} (n, survivor)
WITH w AS MATERIALIZED (
    SELECT n, false AS survivor, {e_identity} FROM {stage} WHERE n BETWEEN {low} AND {high}
    UNION ALL
    SELECT n, true, {s_identity} FROM {stage} WHERE n BETWEEN {low} AND {high}
)
SELECT w.n, w.survivor
FROM w
JOIN ONLY {table} t ON {t_is_w}
ORDER BY {t_identity_order}
FOR UPDATE OF t SKIP LOCKED
