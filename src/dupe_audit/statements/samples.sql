-- Purpose: rank the table, and show for some groups which row would survive, which would leave, and where they differ.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
-- Groups that differ in the same columns are of one kind. One group of each kind comes first. If no group is divergent, exact
-- groups are shown.
-- It joins by ctid, which is valid within one snapshot. LIMIT makes the planner look up the rows of all groups by position.
WITH extra AS MATERIALIZED (
    SELECT *
    FROM (
        SELECT t.ctid AS tid, pg_catalog.first_value(t.ctid) OVER w AS s_tid, pg_catalog.row_number() OVER w AS place
        FROM {t_source}{t_order_values}
        WHERE {t_countable} AND {t_can_repeat}
        WINDOW w AS (PARTITION BY {partition_by} ORDER BY {order_by} ROWS UNBOUNDED PRECEDING)
    ) AS ranked
    WHERE place > 1
), key_group AS (
    SELECT extra.s_tid, pg_catalog.max(extra.place) AS size, pg_catalog.bool_or(NOT {same_data}) AS divergent,
           ARRAY[{group_flags}]::pg_catalog.bool[] AS differs, pg_catalog.array_agg(extra.tid ORDER BY extra.place) AS tids
    FROM extra
    CROSS JOIN LATERAL (SELECT v.* FROM ONLY {table} v WHERE v.ctid = extra.s_tid LIMIT 1) AS v
    CROSS JOIN LATERAL (SELECT e.* FROM ONLY {table} e WHERE e.ctid = extra.tid LIMIT 1) AS e
    GROUP BY extra.s_tid
), chosen AS MATERIALIZED (
    SELECT pg_catalog.row_number() OVER (ORDER BY nth, alike DESC, size DESC, s_tid) AS number, size, differs, s_tid, tids
    FROM (
        SELECT key_group.*, pg_catalog.bool_or(divergent) OVER () AS any_divergent,
               pg_catalog.count(*) OVER (PARTITION BY differs) AS alike,
               pg_catalog.row_number() OVER (PARTITION BY differs ORDER BY size DESC, s_tid) AS nth
        FROM key_group
    ) AS kinds
    WHERE divergent OR NOT any_divergent
    ORDER BY 1
    LIMIT {groups}
), shown AS (
    SELECT number, size, s_tid AS tid, 1 AS place, differs FROM chosen
    UNION ALL
    SELECT member.number, member.size, member.tid, member.place, ARRAY[{pair_flags}]::pg_catalog.bool[]
    FROM (
        SELECT chosen.number, chosen.size, chosen.s_tid, extra_row.tid, extra_row.place + 1 AS place
        FROM chosen
        CROSS JOIN LATERAL pg_catalog.unnest(chosen.tids[:{shown_extras}]) WITH ORDINALITY AS extra_row(tid, place)
    ) AS member
    CROSS JOIN LATERAL (SELECT v.* FROM ONLY {table} v WHERE v.ctid = member.s_tid LIMIT 1) AS v
    CROSS JOIN LATERAL (SELECT e.* FROM ONLY {table} e WHERE e.ctid = member.tid LIMIT 1) AS e
)
SELECT shown.size AS rows, shown.place, shown.differs, {identity} AS identity, {key_value} AS key_value, {row_values} AS row_values
FROM shown
JOIN ONLY {table} t ON t.ctid = shown.tid{t_key_values}
ORDER BY shown.number, shown.place
