-- Purpose: count all rows and NULL keys, and measure the keys' stored width, in one sequential pass.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it reads.
SELECT count(*) AS rows,
       count(*) FILTER (WHERE NOT ({t_countable})) AS null_key_rows,
       coalesce(max({t_key_width}), 0) AS widest_key,
       coalesce(avg({t_key_width}), 0)::pg_catalog.float8 AS average_key
FROM ONLY {table} t
