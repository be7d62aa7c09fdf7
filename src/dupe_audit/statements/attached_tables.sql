-- Purpose: list the partitions of partitioned tables, with their root and the indexes that belong to one of their parent.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE part AS (
    SELECT c.oid AS root, h.inhrelid AS relid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits h ON h.inhparent = c.oid
    WHERE c.relkind = 'p' AND NOT c.relispartition
    UNION ALL
    SELECT part.root, h.inhrelid FROM part JOIN pg_catalog.pg_inherits h ON h.inhparent = part.relid
)
SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS table,
       rn.nspname::pg_catalog.text AS root_schema, rc.relname::pg_catalog.text AS root_table,
       ARRAY(SELECT ic.relname::pg_catalog.text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
             WHERE i.indrelid = part.relid AND ic.relispartition) AS indexes
FROM part
JOIN pg_catalog.pg_class c ON c.oid = part.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class rc ON rc.oid = part.root
JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
ORDER BY part.relid
