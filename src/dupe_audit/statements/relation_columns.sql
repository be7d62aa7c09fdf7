-- Purpose: list the names of a table's columns, in alphabetical order.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT a.attname::pg_catalog.text
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY 1
