-- Purpose: list the unique and exclusion indexes of a table, with the columns that they read.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT i.indisprimary AS primary, NOT i.indimmediate AS deferrable, pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
       (SELECT coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum), '{}')
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum > 0
          AND (a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])
               -- The columns of its expressions: an index depends on them, unless a constraint owns it.
               OR i.indexprs IS NOT NULL AND EXISTS (
                   SELECT FROM pg_catalog.pg_depend dep
                   WHERE dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.objid = i.indexrelid
                     AND dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                     AND dep.refobjid = i.indrelid AND dep.refobjsubid = a.attnum))) AS columns
FROM pg_catalog.pg_index i
WHERE i.indrelid = {relid}::pg_catalog.oid AND (i.indisunique OR i.indisexclusion)
ORDER BY NOT i.indisprimary, i.indexrelid
