-- Purpose: read the name, the owner and the estimated size of a table, by its oid.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT c.oid AS relid, n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS table,
       pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       pg_catalog.format('%I', pg_catalog.pg_get_userbyid(c.relowner)) AS owner,
       -- From the last VACUUM or ANALYZE: the size functions would wait for a lock on the table.
       (greatest(c.relpages, 0)::pg_catalog.int8
           + coalesce((SELECT greatest(toast.relpages, 0) FROM pg_catalog.pg_class toast WHERE toast.oid = c.reltoastrelid), 0))
           * pg_catalog.current_setting('block_size')::pg_catalog.int8 AS bytes,
       c.relkind = 'p' AS is_tree
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ({relid})::pg_catalog.oid
