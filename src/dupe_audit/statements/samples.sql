-- Purpose: rank the table, and show of some groups which row would survive and which would leave, and where they differ.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
-- Divergent groups come first, then the largest. Executed only if the user asked to see groups.
-- It joins by ctid, which is valid within one snapshot; callers switch hash and merge joins off.
WITH extra AS MATERIALIZED (
    SELECT *
    FROM (
        SELECT t.ctid AS tid, pg_catalog.first_value(t.ctid) OVER w AS s_tid, pg_catalog.row_number() OVER w AS place
        FROM ONLY {table} t{t_key_values}{t_order_values}
        WHERE {t_countable}
        WINDOW w AS (PARTITION BY {partition_by} ORDER BY {order_by} ROWS UNBOUNDED PRECEDING)
    ) AS ranked
    WHERE place > 1
), chosen AS MATERIALIZED (
    SELECT extra.s_tid, pg_catalog.max(extra.place) AS size, pg_catalog.bool_or(NOT {same_data}) AS divergent,
           pg_catalog.array_agg(extra.tid ORDER BY extra.place) AS tids
    FROM extra
    JOIN ONLY {table} v ON v.ctid = extra.s_tid
    JOIN ONLY {table} e ON e.ctid = extra.tid
    GROUP BY extra.s_tid
    ORDER BY 3 DESC, 2 DESC, 1
    LIMIT {groups}
), pair AS MATERIALIZED (
    SELECT member.s_tid, member.tid, member.place, ARRAY[{pair_flags}]::pg_catalog.bool[] AS differs
    FROM (
        SELECT chosen.s_tid, extra_row.tid, extra_row.place + 1 AS place
        FROM chosen
        CROSS JOIN LATERAL pg_catalog.unnest(chosen.tids) WITH ORDINALITY AS extra_row(tid, place)
    ) AS member
    JOIN ONLY {table} v ON v.ctid = member.s_tid
    JOIN ONLY {table} e ON e.ctid = member.tid
), group_flags AS MATERIALIZED (
    SELECT flag.s_tid, pg_catalog.array_agg(flag.differs ORDER BY flag.ord) AS differs
    FROM (
        SELECT pair.s_tid, pair_flag.ord, pg_catalog.bool_or(pair_flag.differs) AS differs
        FROM pair
        CROSS JOIN LATERAL pg_catalog.unnest(pair.differs) WITH ORDINALITY AS pair_flag(differs, ord)
        GROUP BY pair.s_tid, pair_flag.ord
    ) AS flag
    GROUP BY flag.s_tid
), shown AS (
    SELECT chosen.s_tid, chosen.s_tid AS tid, 1 AS place, group_flags.differs
    FROM chosen
    LEFT JOIN group_flags ON group_flags.s_tid = chosen.s_tid
    UNION ALL
    SELECT pair.s_tid, pair.tid, pair.place, pair.differs
    FROM pair
    WHERE pair.place <= {shown_rows}
)
SELECT chosen.size AS rows, shown.place, shown.differs, {identity} AS identity, {key_value} AS key_value, {row_values} AS row_values
FROM shown
JOIN chosen ON chosen.s_tid = shown.s_tid
JOIN ONLY {table} t ON t.ctid = shown.tid{t_key_values}
ORDER BY chosen.divergent DESC, chosen.size DESC, shown.s_tid, shown.place
