-- Purpose: list the table's columns that its archive lacks or has with another type.
-- Lock: none beyond catalogs.
-- Again: yes, it reads.
SELECT pg_catalog.format('%I', a.attname) AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN b.attname IS NOT NULL THEN pg_catalog.format_type(b.atttypid, b.atttypmod) END AS archived_type
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attribute b
  ON b.attrelid = {archive}::pg_catalog.regclass::pg_catalog.oid AND b.attname = a.attname AND b.attnum > 0 AND NOT b.attisdropped
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
  AND (b.attname IS NULL OR b.atttypid <> a.atttypid OR b.atttypmod <> a.atttypmod)
ORDER BY a.attnum
