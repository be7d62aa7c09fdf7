-- Purpose: find combinations of values that a unique index does not tell apart; each group lists them in the order of the pools.
-- Lock: ACCESS SHARE on the tables that values are taken from.
-- Again: yes, it only reads.
SELECT pg_catalog.array_agg("dupe_audit cells" ORDER BY "dupe_audit place")
FROM (SELECT *{more_columns}
      FROM (SELECT {cells} AS "dupe_audit cells", {place} AS "dupe_audit place"{columns} FROM ({base}) AS base CROSS JOIN {pools}) AS {alias}
     ) AS {alias}
WHERE {condition}
GROUP BY {keys}
HAVING pg_catalog.count(*) > 1
ORDER BY pg_catalog.min("dupe_audit place")
LIMIT {limit}
