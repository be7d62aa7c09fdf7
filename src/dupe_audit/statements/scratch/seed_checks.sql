-- Purpose: list the conditions that every row of a table has to satisfy: its CHECKs, and the bounds of its partitions.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT c.conname::pg_catalog.text AS name, pg_catalog.pg_get_expr(c.conbin, c.conrelid) AS expression,
       (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)) AS columns
FROM pg_catalog.pg_constraint c
WHERE c.conrelid = {relid}::pg_catalog.oid AND c.contype = 'c'
UNION ALL
SELECT 'its partitions', parts.expression, NULL
FROM (
    SELECT CASE WHEN pg_catalog.bool_and(part.condition IS NOT NULL)
                THEN pg_catalog.string_agg(pg_catalog.format('(%s)', part.condition), ' OR ' ORDER BY part.leaf) END AS expression
    FROM (
        SELECT leaf.oid AS leaf, pg_catalog.pg_get_partition_constraintdef(leaf.oid) AS condition
        FROM (SELECT tree.relid::pg_catalog.oid AS oid FROM pg_catalog.pg_partition_tree({relid}::pg_catalog.oid::pg_catalog.regclass) AS tree
              WHERE tree.isleaf) AS leaf
    ) AS part
) AS parts
WHERE parts.expression IS NOT NULL
