-- Purpose: find the last staged extra of a batch: as many extras as fit into it with their children, but at least one.
-- Lock: ACCESS SHARE on the staged list, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.max(n)
FROM (
    SELECT n, pg_catalog.sum(1 + children) OVER (ORDER BY n)::pg_catalog.int8 AS rows
    FROM {stage}
    WHERE n >= {low}
    ORDER BY n
    LIMIT {batch_size}
) AS next
WHERE rows <= {batch_size} OR n = {low}
