-- Purpose: point the children of the judged extras at the survivors, by one foreign key, and record each in the same statement.
-- Lock: ROW EXCLUSIVE on the child and the record, until the batch commits; the rows are locked already.
-- Again: no; once per batch and foreign key, after judge_extras, in the same transaction.
WITH moved AS MATERIALIZED (
    SELECT c.tableoid AS relid, c.ctid AS tid, {c_as_o}, {v_as_s}
    FROM pg_temp.dupe_audit_locked l
    JOIN ONLY {table} e ON e.ctid = l.e_tid
    JOIN ONLY {table} v ON v.ctid = l.s_tid
    JOIN {source} c ON {condition}
), pointed AS (
    UPDATE {source} c
    SET {set_s}
    FROM moved m
    WHERE c.ctid = m.tid AND c.tableoid = m.relid
    RETURNING {c_as_i}, {m_o}, {c_as_s}
), noted AS (
    INSERT INTO {record} ({i_names}, {o_names}, {s_names}, dupe_audit_batch)
    SELECT {i_names}, {o_names}, {s_names}, {batch} FROM pointed
    RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM moved) AS found,
       (SELECT pg_catalog.count(*) FROM pointed) AS pointed,
       (SELECT pg_catalog.count(*) FROM noted) AS noted
