-- Purpose: list the columns of a table to fill.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT a.attname::pg_catalog.text AS name, a.atttypid::pg_catalog.int8 AS type, a.atttypmod AS typmod,
       a.attnotnull AS not_null, a.attidentity = 'a' AS always_identity,
       a.attidentity = 'd' OR coalesce(pg_catalog.starts_with(written.default_, 'nextval('), false) AS from_sequence,
       CASE WHEN a.attgenerated <> '' THEN written.default_ END AS generated,
       a.attgenerated = '' AND written.default_ IS NOT NULL AS has_default,
       -- Up to PostgreSQL 14 the generated column itself depends on the others; from 15 on, its expression does.
       (SELECT pg_catalog.array_agg(DISTINCT b.attname::pg_catalog.text)
        FROM pg_catalog.pg_depend dep
        JOIN pg_catalog.pg_attribute b ON b.attrelid = dep.refobjid AND b.attnum = dep.refobjsubid
        WHERE a.attgenerated <> '' AND dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND dep.refobjid = a.attrelid AND b.attnum <> a.attnum
          AND ((dep.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND dep.objid = d.oid)
               OR (dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.objid = a.attrelid
                   AND dep.objsubid = a.attnum))) AS generated_from
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS default_) AS written
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
