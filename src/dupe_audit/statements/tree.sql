-- Purpose: list the tables of a tree: the partitioned table itself, its inner levels and its leaves, each with its parent.
-- Lock: none beyond catalogs; pg_partition_tree() would lock every leaf.
-- Again: yes, it only reads.
WITH RECURSIVE tree AS (
    SELECT {relid}::pg_catalog.oid AS relid, 0::pg_catalog.oid AS parent, 0 AS level
    UNION ALL
    -- A leaf whose concurrent detach was not completed is none any more: the server leaves its rows out.
    SELECT h.inhrelid, h.inhparent, tree.level + 1
    FROM tree
    JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.relid AND NOT h.inhdetachpending
)
SELECT tree.relid, tree.parent, tree.level, c.relkind = 'p' AS is_tree,
       coalesce(p.partdefid = tree.relid, false) AS is_default,
       n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS table,
       pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       pg_catalog.format('%I', pg_catalog.pg_get_userbyid(c.relowner)) AS owner,
       (greatest(c.relpages, 0)::pg_catalog.int8
           + coalesce((SELECT greatest(toast.relpages, 0) FROM pg_catalog.pg_class toast WHERE toast.oid = c.reltoastrelid), 0))
           * pg_catalog.current_setting('block_size')::pg_catalog.int8 AS bytes
FROM tree
JOIN pg_catalog.pg_class c ON c.oid = tree.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = tree.parent
ORDER BY tree.level, tree.relid
