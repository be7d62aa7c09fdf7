-- Purpose: read what decides about a table of Citus in its own catalog entries: a primary key, and foreign keys to it that act on a delete.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid) AS has_primary_key,
       (SELECT pg_catalog.string_agg(pg_catalog.format('%s of %s', con.conname, con.conrelid::pg_catalog.regclass), ', ' ORDER BY con.oid)
        FROM pg_catalog.pg_constraint con
        WHERE con.confrelid = c.oid AND con.contype = 'f') AS foreign_keys,
       (SELECT pg_catalog.string_agg(pg_catalog.format('%s of %s', con.conname, con.conrelid::pg_catalog.regclass), ', ' ORDER BY con.oid)
        FROM pg_catalog.pg_constraint con
        WHERE con.confrelid = c.oid AND con.contype = 'f' AND con.confdeltype IN ('c', 'n', 'd')) AS acting_foreign_keys,
       c.relkind = 'p' AS partitioned
FROM pg_catalog.pg_class c
WHERE c.oid = {relid}::pg_catalog.oid
