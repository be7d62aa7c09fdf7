-- Purpose: return the numbers of a key's columns, which a rename of a column does not change.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads; a part of other statements.
SELECT pg_catalog.array_agg(a.attnum ORDER BY k.ord)
FROM pg_catalog.unnest({key}) WITH ORDINALITY AS k(name, ord)
JOIN pg_catalog.pg_attribute a ON a.attname = k.name
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
