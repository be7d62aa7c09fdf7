-- Purpose: count the staged groups in which an extra differs from its survivor, those extras, and the groups that differ in each column.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes, it only reads.
-- A pair to which the application has given different keys since the ranking does not count.
-- One row per pattern of differences, such as only a timestamp; no row if no group is divergent.
SELECT {pattern} AS pattern, pg_catalog.count(*) AS divergent_groups,
       pg_catalog.sum(divergent_group.extras)::pg_catalog.int8 AS extras, {differing_counts} AS differs
FROM (
    SELECT s.s_tid, pg_catalog.count(*) AS extras, {differing_flags}
    FROM {stage} s
    JOIN ONLY {table} e ON {e_is_extra}{e_key_values}
    JOIN ONLY {table} v ON {v_is_survivor}{v_key_values}
    WHERE NOT {same_data} AND {same_key}
    GROUP BY s.s_tid
) AS divergent_group
GROUP BY 1
