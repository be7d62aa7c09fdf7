-- Purpose: count all rows, those that the predicate leaves out and those with a NULL in the key, and measure the keys' width, in one scan.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS rows,
       pg_catalog.count(*) FILTER (WHERE NOT {t_in_predicate}) AS outside_rows,
       pg_catalog.count(*) FILTER (WHERE {t_in_predicate} AND NOT ({t_countable})) AS null_key_rows,
       coalesce(pg_catalog.max({t_key_width}) FILTER (WHERE {t_in_predicate}), 0) AS widest_key,
       coalesce(pg_catalog.avg({t_key_width}) FILTER (WHERE {t_in_predicate}), 0)::pg_catalog.float8 AS average_key
FROM {t_source_of_all_rows}
