-- Purpose: insert the first row of each key in the order of the batch; return for every row what write_row.sql would.
-- Lock: ROW EXCLUSIVE on the table; waits for a transaction that is inserting a key of the batch.
-- Again: yes, the keys then exist. An existing key uses no value of a sequence.
WITH sent AS MATERIALIZED (
    -- One array per column, because the server reads it faster than a temporary table or one parameter per value.
    SELECT u.n, {typed} FROM ROWS FROM ({arrays}) WITH ORDINALITY AS u({texts}, n)
), batch AS MATERIALIZED (
    SELECT v.*, pg_catalog.row_number() OVER w = 1 AS first,
           pg_catalog.record_image_eq({sent_payload}, pg_catalog.first_value({sent_payload}) OVER w) AS same
    FROM sent AS v
    WINDOW w AS (PARTITION BY {sent_key} ORDER BY v.n)
), old AS MATERIALIZED (
    -- LIMIT makes the planner look each row up in the index, even if the table has no statistics.
    SELECT v.n, o.* FROM sent AS v CROSS JOIN LATERAL (
        SELECT {same} AS same, {identity} FROM {table} AS t WHERE {match} LIMIT 1) AS o
), new AS (
    INSERT INTO {table} AS t ({columns})
    SELECT {values} FROM batch AS v WHERE v.first AND NOT EXISTS (SELECT FROM old WHERE old.n = v.n) ORDER BY v.n
    {conflict}
    RETURNING {identity}, {key_as_k}
)
SELECT v.n, v.first AS inserted, v.same, {new_identity} FROM batch AS v JOIN new ON {matches_new}
UNION ALL
SELECT old.n, false, old.same, {old_identity} FROM old
