-- Purpose: count rows, NULL keys and groups in one pass, with the constraint's own equality and NULL rule.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it reads.
SELECT coalesce(sum(size), 0)::pg_catalog.int8 AS countable,
       count(*) FILTER (WHERE size > 1) AS groups,
       coalesce(sum(size) FILTER (WHERE size > 1), 0)::pg_catalog.int8 AS affected,
       coalesce(max(size), 0) AS largest_group
FROM (SELECT count(*) AS size FROM ONLY {table} t WHERE {t_countable} GROUP BY {partition_by}) AS key_value
