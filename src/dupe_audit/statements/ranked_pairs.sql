-- Purpose: rank the table, and return where each extra and its survivor are, before anything is staged.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads. It is part of the queries that count references and collisions.
-- It ranks all rows: with t_can_repeat, the planner would expect few pairs, and could scan the child once per pair.
SELECT e_tid, s_tid
FROM (
    SELECT t.ctid AS e_tid, pg_catalog.first_value(t.ctid) OVER w AS s_tid, pg_catalog.row_number() OVER w AS place
    FROM {t_source}{t_order_values}
    WHERE {t_countable}
    WINDOW w AS (PARTITION BY {partition_by} ORDER BY {order_by} ROWS UNBOUNDED PRECEDING)
) AS ranked
WHERE place > 1
