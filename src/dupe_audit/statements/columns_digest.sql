-- Purpose: return a digest of the table's columns and of the foreign keys to it, as move_rows does.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.md5(pg_catalog.string_agg(
           pg_catalog.format('%s %s %s %s', a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
       || (SELECT coalesce(pg_catalog.string_agg(con.oid::pg_catalog.text, ',' ORDER BY con.oid), '')
           FROM pg_catalog.pg_constraint con WHERE con.confrelid = {relid}::pg_catalog.oid AND con.contype = 'f'))
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attrelid = pg_catalog.to_regclass({table_name})::pg_catalog.oid
  AND a.attnum > 0 AND NOT a.attisdropped
