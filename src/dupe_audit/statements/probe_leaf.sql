-- Purpose: say whether a leaf, or the keys of its newer rows, has any extra, and count the rows of the whole leaf.
-- Lock: ACCESS SHARE on the leaf, until the transaction ends: it blocks no read and no write.
-- Again: yes, it only reads.
SELECT EXISTS (SELECT FROM {t_source} WHERE {t_countable} AND {t_to_rank} GROUP BY {partition_by} HAVING pg_catalog.count(*) > 1) AS has_extras,
       {rows} AS rows
