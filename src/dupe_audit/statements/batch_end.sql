-- Purpose: find the last staged extra of a batch: as many extras as fit with their children and bytes, but at least one.
-- Lock: ACCESS SHARE on the staged list and, where rows are wide, on the table, until the transaction ends.
-- Again: yes, it only reads.
-- Where no children follow and no row is wide, the end is computed without it.
SELECT pg_catalog.max(n) AS high, pg_catalog.max(rows) AS rows
FROM (
    SELECT s.n, pg_catalog.sum(1 + s.children) OVER w::pg_catalog.int8 AS rows,
           coalesce(pg_catalog.sum({bytes}) OVER w, 0)::pg_catalog.int8 AS bytes
    FROM {stage} s
    WHERE s.n >= {low}
    WINDOW w AS (ORDER BY s.n)
    ORDER BY s.n
    LIMIT {batch_size}
) AS next
WHERE (rows <= {batch_size} AND bytes <= {most_bytes}) OR n = {low}
