-- Purpose: rank the table, and show of the largest groups which row would survive and which would leave; only on request.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
-- It joins by ctid, which is valid within one snapshot; callers switch hash and merge joins off.
WITH extra AS MATERIALIZED (
    SELECT *
    FROM (
        SELECT t.ctid AS tid, pg_catalog.first_value(t.ctid) OVER w AS s_tid, pg_catalog.row_number() OVER w AS place
        FROM {t_source}{t_order_values}
        WHERE {t_countable}
        WINDOW w AS (PARTITION BY {partition_by} ORDER BY {order_by} ROWS UNBOUNDED PRECEDING)
    ) AS ranked
    WHERE place > 1
), chosen AS MATERIALIZED (
    SELECT s_tid, pg_catalog.max(place) AS size FROM extra GROUP BY s_tid ORDER BY 2 DESC, 1 LIMIT {groups}
), shown AS (
    SELECT s_tid, size, s_tid AS tid, 1 AS place FROM chosen
    UNION ALL
    SELECT chosen.s_tid, chosen.size, extra.tid, extra.place
    FROM chosen JOIN extra ON extra.s_tid = chosen.s_tid
    WHERE extra.place <= {shown_rows}
)
SELECT shown.size AS rows, shown.place, {identity} AS identity, {key_value} AS key_value, {row_values} AS row_values
FROM shown
JOIN ONLY {table} t ON t.ctid = shown.tid{t_key_values}
ORDER BY shown.size DESC, shown.s_tid, shown.place
