-- Purpose: count all rows and those with a NULL in the key, and measure the keys' stored width, in one sequential scan.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS rows,
       pg_catalog.count(*) FILTER (WHERE NOT ({t_countable})) AS null_key_rows,
       coalesce(pg_catalog.max({t_key_width}), 0) AS widest_key,
       coalesce(pg_catalog.avg({t_key_width}), 0)::pg_catalog.float8 AS average_key
FROM ONLY {table} t
