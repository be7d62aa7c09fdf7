-- Purpose: count groups, extras and divergent groups in one pass, with the constraint's own equality and NULL rule.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it reads. Its joins are by ctid, within its own snapshot; callers switch hash and merge joins off.
WITH key_value AS MATERIALIZED (
    SELECT pg_catalog.array_agg(t.ctid) AS tids
    FROM ONLY {table} t
    WHERE {t_countable}
    GROUP BY {partition_by}
    HAVING count(*) > 1
)
SELECT count(*) AS groups,
       coalesce(sum(pg_catalog.cardinality(tids)), 0)::pg_catalog.int8 AS affected,
       coalesce(max(pg_catalog.cardinality(tids)), 0) AS largest_group,
       (SELECT pg_catalog.count(DISTINCT pair.one)
        FROM (SELECT tids[1] AS one, pg_catalog.unnest(tids[2:]) AS other FROM key_value) AS pair
        JOIN ONLY {table} v ON v.ctid = pair.one
        JOIN ONLY {table} e ON e.ctid = pair.other
        WHERE NOT {same_data}) AS divergent_groups
FROM key_value
