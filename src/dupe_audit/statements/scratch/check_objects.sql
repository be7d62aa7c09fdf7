-- Purpose: describe every object of the schema in one line, so that the schemas of two moments can be compared.
-- Lock: none beyond catalogs; waits for a session that holds ACCESS EXCLUSIVE on a table or view.
-- Again: yes, it only reads.
WITH spaces AS (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'dupe_audit', 'dupe_audit_check')
      AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
), members AS (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
), relations AS (
    SELECT c.*, s.nspname FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
    WHERE c.oid NOT IN (SELECT m.objid FROM members m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
)
SELECT 'schema ' || s.nspname AS object, '' AS definition FROM spaces s
UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                      WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'table' END || ' ' || c.nspname || '.' || c.relname,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) ELSE '' END
       || CASE WHEN c.relrowsecurity THEN ' ROW LEVEL SECURITY' ELSE '' END
       || coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), '')
FROM relations c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
UNION ALL
SELECT 'column ' || c.nspname || '.' || c.relname || '.' || a.attname,
       pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
       || CASE WHEN a.attidentity <> '' THEN ' IDENTITY ' || a.attidentity::pg_catalog.text ELSE '' END
       || CASE WHEN a.attgenerated <> '' THEN ' GENERATED' ELSE '' END
       || coalesce(' DEFAULT ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
       || coalesce(' COLLATE ' || col.collname::pg_catalog.text, '')
       || coalesce(pg_catalog.col_description(c.oid, a.attnum::pg_catalog.int4), '')
FROM relations c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_collation col ON col.oid = a.attcollation AND col.collname <> 'default'
WHERE c.relkind IN ('r', 'p', 'f', 'c')
UNION ALL
SELECT 'index ' || c.nspname || '.' || c.relname,
       pg_catalog.pg_get_indexdef(c.oid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
FROM relations c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
UNION ALL
SELECT 'constraint ' || c.nspname || '.' || c.relname || '.' || con.conname,
       pg_catalog.pg_get_constraintdef(con.oid) || coalesce(pg_catalog.obj_description(con.oid, 'pg_constraint'), '')
FROM relations c JOIN pg_catalog.pg_constraint con ON con.conrelid = c.oid
UNION ALL
SELECT 'trigger ' || c.nspname || '.' || c.relname || '.' || t.tgname, pg_catalog.pg_get_triggerdef(t.oid) || t.tgenabled::pg_catalog.text
FROM relations c JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'policy ' || c.nspname || '.' || c.relname || '.' || p.polname,
       p.polcmd::pg_catalog.text || coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '')
       || coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '')
FROM relations c JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT CASE t.typtype WHEN 'e' THEN 'enum ' ELSE 'domain ' END || s.nspname || '.' || t.typname,
       coalesce((SELECT pg_catalog.string_agg(e.enumlabel::pg_catalog.text, ', ' ORDER BY e.enumsortorder)
                 FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
                pg_catalog.format_type(t.typbasetype, t.typtypmod))
FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace
WHERE t.typtype IN ('e', 'd')
  AND t.oid NOT IN (SELECT m.objid FROM members m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass)
UNION ALL
SELECT 'function ' || s.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
       pg_catalog.md5(coalesce(p.prosrc, '') || coalesce(p.proconfig::pg_catalog.text, '') || p.prorettype::pg_catalog.text)
FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
WHERE p.oid NOT IN (SELECT m.objid FROM members m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
UNION ALL
SELECT 'extension ' || e.extname, '' FROM pg_catalog.pg_extension e
ORDER BY 1
