-- Purpose: list the leaves of a tree whose part of an index of the root is attached and valid, with that part.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE part AS (
    SELECT {index}::pg_catalog.oid AS oid
    UNION ALL
    SELECT h.inhrelid FROM part JOIN pg_catalog.pg_inherits h ON h.inhparent = part.oid
)
SELECT i.indrelid AS relid, i.indexrelid AS part
FROM part
JOIN pg_catalog.pg_index i ON i.indexrelid = part.oid AND i.indisvalid
JOIN pg_catalog.pg_class c ON c.oid = part.oid AND c.relkind = 'i'
