-- Purpose: list the partitioned tables above a leaf, or those of a whole tree, the root first, as LOCK TABLE names them.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE above AS (
    SELECT h.inhparent AS relid, 1 AS height FROM pg_catalog.pg_inherits h WHERE h.inhrelid = {relid}::pg_catalog.oid
    UNION ALL
    SELECT h.inhparent, above.height + 1 FROM above JOIN pg_catalog.pg_inherits h ON h.inhrelid = above.relid
), below AS (
    SELECT c.oid AS relid, 0 AS depth FROM pg_catalog.pg_class c WHERE c.oid = {relid}::pg_catalog.oid AND c.relkind = 'p'
    UNION ALL
    SELECT h.inhrelid, below.depth + 1
    FROM below
    JOIN pg_catalog.pg_inherits h ON h.inhparent = below.relid
    JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid AND c.relkind = 'p'
), level AS (
    SELECT above.relid, -above.height AS depth FROM above
    UNION ALL
    SELECT below.relid, below.depth FROM below
)
SELECT pg_catalog.string_agg(pg_catalog.format('ONLY %I.%I', n.nspname, c.relname), ', ' ORDER BY level.depth, level.relid) AS levels
FROM level
JOIN pg_catalog.pg_class c ON c.oid = level.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
