-- Purpose: list the table's columns that the archive lacks or has with another type, and the value that archived rows get in them.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.format('%I', a.attname) AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN b.attname IS NOT NULL THEN pg_catalog.format_type(b.atttypid, b.atttypmod) END AS archived_type,
       CASE WHEN d.oid IS NULL THEN ''
            WHEN a.attgenerated = '' THEN pg_catalog.format(' DEFAULT %s', pg_catalog.pg_get_expr(d.adbin, d.adrelid))
            ELSE pg_catalog.format(' GENERATED ALWAYS AS (%s) STORED', pg_catalog.pg_get_expr(d.adbin, d.adrelid)) END AS filling,
       CASE WHEN d.oid IS NULL THEN NULL WHEN a.attgenerated = '' THEN 'DEFAULT' ELSE 'EXPRESSION' END AS filler
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_attribute b
  ON b.attrelid = {archive}::pg_catalog.regclass::pg_catalog.oid AND b.attname = a.attname AND b.attnum > 0 AND NOT b.attisdropped
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
  AND (b.attname IS NULL OR b.atttypid <> a.atttypid OR b.atttypmod <> a.atttypmod)
ORDER BY a.attnum
