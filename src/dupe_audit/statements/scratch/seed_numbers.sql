-- Purpose: number plain rows, each of which copies only itself.
-- Lock: none.
-- Again: yes, it only reads.
SELECT n, n AS k, 0 AS d FROM pg_catalog.generate_series({first}::pg_catalog.int8, {last}::pg_catalog.int8) AS n {where}
