-- Purpose: count the rows of one child table that reference extras, before anything is staged.
-- Lock: ACCESS SHARE on the table and on the child.
-- Again: yes, it reads.
WITH extra AS MATERIALIZED (
    SELECT tid FROM (
        SELECT t.ctid AS tid, row_number() OVER (PARTITION BY {partition_by} ORDER BY {order_by}) AS place
        FROM ONLY {table} t
        WHERE {t_countable}
    ) AS ranked WHERE place > 1
)
SELECT count(*)
FROM {child} c
WHERE EXISTS (SELECT FROM extra JOIN ONLY {table} e ON e.ctid = extra.tid WHERE {condition})
