-- Purpose: count all rows and those with a NULL in the key, and measure the keys' stored width, in one sequential scan.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT count(*) AS rows,
       count(*) FILTER (WHERE NOT ({t_countable})) AS null_key_rows,
       coalesce(max({t_key_width}), 0) AS widest_key,
       coalesce(avg({t_key_width}), 0)::pg_catalog.float8 AS average_key
FROM ONLY {table} t
