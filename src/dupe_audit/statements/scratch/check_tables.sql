-- Purpose: list a project's tables and their columns; system tables, those of extensions and dupe-audit's own are left out.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT c.oid, n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS name,
       -- In the order of their numbers, which a renamed column keeps; NULL for a dropped one.
       ARRAY(SELECT CASE WHEN NOT a.attisdropped THEN a.attname::pg_catalog.text END
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) AS columns,
       -- The category of each type, and the type as SQL; a cast to it truncates no text.
       ARRAY(SELECT CASE WHEN NOT a.attisdropped THEN t.typcategory::pg_catalog.text || ' '
                         || pg_catalog.format_type(a.atttypid, CASE WHEN t.typcategory <> 'S' THEN a.atttypmod END) END
             FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) AS types,
       -- Name, expression and columns of each generated column.
       (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid), ARRAY(
                   SELECT DISTINCT b.attname::pg_catalog.text
                   FROM pg_catalog.pg_depend dep
                   JOIN pg_catalog.pg_attribute b ON b.attrelid = dep.refobjid AND b.attnum = dep.refobjsubid
                   WHERE dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.refobjid = c.oid AND b.attnum <> a.attnum
                     AND ((dep.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND dep.objid = d.oid)
                          OR (dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.objid = c.oid
                              AND dep.objsubid = a.attnum))))), '[]'::pg_catalog.jsonb)
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attgenerated <> '') AS generated,
       c.relkind = 'p' AS partitioned,
       (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid AND c.relispartition) AS part_of
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'dupe_audit', 'dupe_audit_check')
  AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
