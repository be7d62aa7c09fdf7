-- Purpose: count the extras and trust no index in doing so.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it reads.
SELECT coalesce(sum(size - 1), 0)::pg_catalog.int8
FROM (SELECT count(*) AS size FROM ONLY {table} t WHERE {t_countable} GROUP BY {partition_by} HAVING count(*) > 1) AS key_value
