-- Purpose: count the extras and groups of a leaf, or those of the keys of its newer rows, and the rows of the whole leaf.
-- Lock: ACCESS SHARE on the leaf, until the transaction ends: it blocks no read and no write.
-- Again: yes, it only reads.
SELECT coalesce(pg_catalog.sum(size - 1), 0)::pg_catalog.int8 AS extras, pg_catalog.count(*) AS groups, {rows} AS rows
FROM (SELECT pg_catalog.count(*) AS size FROM {t_source} WHERE {t_countable} AND {t_to_rank} GROUP BY {partition_by} HAVING pg_catalog.count(*) > 1) AS key_value
