-- Purpose: show the key values of the largest groups; only when a person asked to see them.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it reads.
SELECT ROW({partition_by})::pg_catalog.text AS key, count(*) AS rows
FROM ONLY {table} t
WHERE {t_countable}
GROUP BY {partition_by}
HAVING count(*) > 1
ORDER BY 2 DESC
LIMIT 10
