-- Purpose: return the names of a table's columns and their numbers, which a rename does not change.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads; a part of other statements.
SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum) AS names, pg_catalog.array_agg(a.attnum ORDER BY a.attnum) AS numbers
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
