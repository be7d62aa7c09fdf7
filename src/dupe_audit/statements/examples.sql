-- Purpose: show the key values of the largest groups; executed only if the user asked to see them.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT ROW({partition_by})::pg_catalog.text AS key, pg_catalog.count(*) AS rows
FROM {t_source_by_key}
WHERE {t_countable} AND {t_can_repeat}
GROUP BY {partition_by}
HAVING pg_catalog.count(*) > 1
ORDER BY 2 DESC
LIMIT 10
