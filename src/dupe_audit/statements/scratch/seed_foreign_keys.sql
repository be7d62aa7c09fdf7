-- Purpose: list the foreign keys of a table, or those that reference it.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.format('%I.%I', n.nspname, c.conname) AS name, c.conrelid::pg_catalog.int8 AS child, c.confrelid::pg_catalog.int8 AS parent,
       c.condeferrable AS deferrable, names.columns, names.referenced
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(ca.attname::pg_catalog.text ORDER BY u.ord) AS columns,
           pg_catalog.array_agg(pa.attname::pg_catalog.text ORDER BY u.ord) AS referenced
    FROM unnest(c.conkey, c.confkey) WITH ORDINALITY AS u(child_att, parent_att, ord)
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid = c.conrelid AND ca.attnum = u.child_att
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid = c.confrelid AND pa.attnum = u.parent_att
) AS names
WHERE c.contype = 'f'
  AND ({side} = {relid}::pg_catalog.oid
       -- A partition can have its own foreign keys, which rows of the whole table have to satisfy too.
       OR {side} IN (SELECT tree.relid::pg_catalog.oid
                     FROM pg_catalog.pg_partition_tree({relid}::pg_catalog.oid::pg_catalog.regclass) AS tree))
  -- The server repeats a constraint on every partition; only the declared one is listed.
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up
                  WHERE up.oid = c.conparentid AND (up.conrelid = c.conrelid OR up.confrelid = c.confrelid))
ORDER BY c.oid
