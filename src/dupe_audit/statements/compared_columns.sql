-- Purpose: list the columns in which the rows of a group are compared, with the properties that show whether one is bookkeeping.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- The order is that of the places in fragments.sql, which leaves out the same columns.
SELECT a.attname::pg_catalog.text AS name, pg_catalog.format_type(a.atttypid, NULL) AS type,
       a.attidentity <> '' AS identity, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS default_sql
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attname = ANY ({compared_names})
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
