-- Purpose: count, per compared column, the groups whose rows differ in it.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
-- It joins by ctid, which is valid within one snapshot; callers switch hash and merge joins off.
WITH key_value AS MATERIALIZED (
    SELECT pg_catalog.array_agg(t.ctid) AS tids
    FROM {t_source_by_key}
    WHERE {t_countable}
    GROUP BY {partition_by}
    HAVING pg_catalog.count(*) > 1
), key_group AS (
    SELECT ARRAY[{flags}] AS flags
    FROM (SELECT tids[1] AS first_tid, pg_catalog.unnest(tids[2:]) AS other_tid FROM key_value) AS pair
    JOIN ONLY {table} v ON v.ctid = pair.first_tid
    JOIN ONLY {table} e ON e.ctid = pair.other_tid
    WHERE NOT {same_data}
    GROUP BY pair.first_tid
)
SELECT flag.ord, pg_catalog.count(*) AS groups
FROM key_group
CROSS JOIN LATERAL pg_catalog.unnest(key_group.flags) WITH ORDINALITY AS flag(differs, ord)
WHERE flag.differs
GROUP BY flag.ord
ORDER BY flag.ord
