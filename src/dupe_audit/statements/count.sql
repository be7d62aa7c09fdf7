-- Purpose: count groups, affected rows and divergent groups in one statement, by the constraint's own equality and NULL rule.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
-- It joins by ctid, which is valid within one snapshot; callers switch hash and merge joins off.
WITH key_value AS MATERIALIZED (
    SELECT pg_catalog.array_agg(t.ctid) AS tids
    FROM {t_source_by_key}
    WHERE {t_countable}
    GROUP BY {partition_by}
    HAVING pg_catalog.count(*) > 1
)
SELECT pg_catalog.count(*) AS groups,
       coalesce(pg_catalog.sum(pg_catalog.cardinality(tids)), 0)::pg_catalog.int8 AS affected,
       coalesce(pg_catalog.max(pg_catalog.cardinality(tids)), 0) AS largest_group,
       (SELECT pg_catalog.count(DISTINCT pair.first_tid)
        FROM (SELECT tids[1] AS first_tid, pg_catalog.unnest(tids[2:]) AS other_tid FROM key_value) AS pair
        JOIN ONLY {table} v ON v.ctid = pair.first_tid
        JOIN ONLY {table} e ON e.ctid = pair.other_tid
        WHERE NOT {same_data}) AS divergent_groups
FROM key_value
