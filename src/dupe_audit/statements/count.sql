-- Purpose: count groups and affected rows, by the constraint's own equality and NULL rule, and the divergent groups that differ in each column.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
-- It joins by ctid, which is valid within one snapshot.
-- One row per pattern of differences, such as only a timestamp; if no group is divergent, one row whose pattern is NULL.
WITH key_value AS MATERIALIZED (
    SELECT pg_catalog.array_agg(t.ctid) AS tids
    FROM {t_source_by_key}
    WHERE {t_countable} AND {t_can_repeat}
    GROUP BY {partition_by}
    HAVING pg_catalog.count(*) > 1
), total AS (
    SELECT pg_catalog.count(*) AS groups,
           coalesce(pg_catalog.sum(pg_catalog.cardinality(tids)), 0)::pg_catalog.int8 AS affected,
           coalesce(pg_catalog.max(pg_catalog.cardinality(tids)), 0) AS largest_group
    FROM key_value
), divergent_group AS (
    SELECT pair.first_tid, {differing_flags}
    FROM (SELECT tids[1] AS first_tid, pg_catalog.unnest(tids[2:]) AS other_tid FROM key_value) AS pair
    -- LIMIT makes the planner look rows up by position, not scan the table again.
    CROSS JOIN LATERAL (SELECT v.* FROM ONLY {table} v WHERE v.ctid = pair.first_tid LIMIT 1) AS v
    CROSS JOIN LATERAL (SELECT e.* FROM ONLY {table} e WHERE e.ctid = pair.other_tid LIMIT 1) AS e
    WHERE NOT {same_data}
    GROUP BY pair.first_tid
), divergent AS (
    SELECT {pattern} AS pattern, pg_catalog.count(*) AS divergent_groups, {differing_counts} AS differs
    FROM divergent_group
    GROUP BY 1
)
SELECT total.groups, total.affected, total.largest_group, divergent.pattern, divergent.divergent_groups, divergent.differs
FROM total
LEFT JOIN divergent ON true
