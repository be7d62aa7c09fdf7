-- Purpose: list the unique indexes and exclusion constraints that compare a column, and what its type is.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT ic.relname::pg_catalog.text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       t.typtype = 'e' AS is_enum,
       (SELECT n.typtype = 'e' FROM pg_catalog.pg_type n
        WHERE n.oid = pg_catalog.to_regtype({new_type})::pg_catalog.oid) IS TRUE AS becomes_enum
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_index i ON i.indrelid = a.attrelid
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attname = {column} AND (i.indisunique OR i.indisexclusion)
  AND (a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])
       OR ((i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
           AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
                         AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                         AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)))
ORDER BY 1
