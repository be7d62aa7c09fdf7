-- Purpose: find the object that has the name of a constraint to be dropped (a constraint of the table, or a unique index without one), and the foreign keys that depend on it.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT con.oid IS NOT NULL AS is_constraint, con.contype::pg_catalog.text AS kind, i.indexrelid IS NOT NULL AS is_index,
       (SELECT pg_catalog.string_agg(pg_catalog.format('%I on %s', fk.conname, fk.conrelid::pg_catalog.regclass), ', ' ORDER BY fk.conname)
        FROM pg_catalog.pg_constraint fk
        WHERE fk.contype = 'f' AND fk.confrelid = c.oid AND fk.conindid = coalesce(con.conindid, i.indexrelid)) AS foreign_keys
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_constraint con ON con.conrelid = c.oid AND con.conname = {name}
LEFT JOIN pg_catalog.pg_class ic ON ic.relname = {name} AND ic.relnamespace = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = ic.oid AND i.indrelid = c.oid
WHERE c.oid = {relid}::pg_catalog.oid
