-- Purpose: count the extras; callers switch index scans off, because a corrupt index hides duplicates (H43).
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce(pg_catalog.sum(size - 1), 0)::pg_catalog.int8
FROM (SELECT pg_catalog.count(*) AS size FROM {t_source_by_key} WHERE {t_countable} AND {t_can_repeat} GROUP BY {partition_by} HAVING pg_catalog.count(*) > 1) AS key_value
