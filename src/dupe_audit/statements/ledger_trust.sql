-- Purpose: list what in schema dupe_audit is owned by a role that is not trusted, or would execute something when it is used.
-- Lock: none beyond catalogs; nothing in the schema is read.
-- Again: yes, it only reads.
-- A superuser is a member of every role, so membership proves nothing for one (H199).
WITH me AS (
    SELECT r.oid, r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER
), trusted AS (
    SELECT r.oid
    FROM pg_catalog.pg_roles r CROSS JOIN me
    WHERE r.rolsuper OR r.oid = me.oid
       OR r.oid = (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
       -- Its triggers are executed by the work on the table anyway.
       OR r.oid = (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = ({relid})::pg_catalog.oid)
       OR (NOT me.rolsuper AND ({reading} OR pg_catalog.pg_has_role(me.oid, r.oid, 'USAGE')))
), ledger AS (
    SELECT n.oid, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = 'dupe_audit'
), rel AS (
    SELECT c.oid, c.relkind, c.relowner, c.relname, c.relacl, pg_catalog.format('dupe_audit.%I', c.relname) AS name,
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view'
                          WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table'
                          ELSE 'relation' END AS kind,
           -- The number of a run is the second part of the names of its tables, of their indexes and of their sequences.
           -- A regular expression would take 14 microseconds per name (measured), and there are three names per run.
           CASE WHEN pg_catalog.split_part(c.relname::pg_catalog.text, '_', 1) IN ('archive', 'after', 'stage', 'children')
                     AND pg_catalog.translate(pg_catalog.split_part(c.relname::pg_catalog.text, '_', 2), '0123456789', '') = ''
                THEN nullif(pg_catalog.split_part(c.relname::pg_catalog.text, '_', 2), '') END AS run
    -- A subquery, because a join would first match the names of all relations of the database.
    FROM pg_catalog.pg_class c WHERE c.relnamespace = (SELECT ledger.oid FROM ledger)
), used AS (
    -- The tables of a run belong to the owner of its table, so they are judged when that run is used.
    SELECT rel.* FROM rel WHERE rel.run IS NULL OR rel.run = ({run})::pg_catalog.text
), part AS (
    SELECT used.name, 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid AS classid, d.oid AS objid
    FROM used JOIN pg_catalog.pg_attrdef d ON d.adrelid = used.oid
    UNION ALL
    SELECT used.name, 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid, con.oid
    FROM used JOIN pg_catalog.pg_constraint con ON con.conrelid = used.oid
    UNION ALL
    SELECT used.name, 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, used.oid
    FROM used WHERE used.relkind = 'i'
)
SELECT 1 AS rank, pg_catalog.format('the schema belongs to role %s', pg_catalog.pg_get_userbyid(ledger.nspowner)) AS problem
FROM ledger WHERE ledger.nspowner NOT IN (SELECT trusted.oid FROM trusted)
UNION ALL
SELECT 2, 'every role can create objects in the schema'
FROM ledger CROSS JOIN LATERAL pg_catalog.aclexplode(ledger.nspacl) AS g
WHERE g.grantee = 0::pg_catalog.oid AND g.privilege_type = 'CREATE'
UNION ALL
SELECT 3, pg_catalog.format('%s is a %s', used.name, used.kind) FROM used WHERE used.relkind NOT IN ('r', 'i', 'S')
UNION ALL
SELECT 3, pg_catalog.format('%s is a %s', used.name, used.kind)
FROM used WHERE used.relname IN ('run', 'batch', 'child', 'leaf', 'campaign') AND used.relkind IN ('i', 'S')
UNION ALL
SELECT 4, pg_catalog.format('%s %s belongs to role %s', used.kind, used.name, pg_catalog.pg_get_userbyid(used.relowner))
FROM used
-- An index, and the sequence of a column, have the owner of their table.
WHERE used.relowner NOT IN (SELECT trusted.oid FROM trusted) AND used.relkind <> 'i'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AND d.objid = used.oid
                    AND d.refclassid = d.classid AND d.refobjsubid <> 0 AND d.deptype IN ('a', 'i'))
UNION ALL
SELECT DISTINCT 5, pg_catalog.format('every role can write to %s', used.name)
FROM used CROSS JOIN LATERAL pg_catalog.aclexplode(used.relacl) AS g
WHERE g.grantee = 0::pg_catalog.oid AND g.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
UNION ALL
SELECT 6, pg_catalog.format('trigger %I on %s executes a function of role %s', tg.tgname, used.name, pg_catalog.pg_get_userbyid(p.proowner))
FROM used
JOIN pg_catalog.pg_trigger tg ON tg.tgrelid = used.oid AND NOT tg.tgisinternal
JOIN pg_catalog.pg_proc p ON p.oid = tg.tgfoid
WHERE p.proowner NOT IN (SELECT trusted.oid FROM trusted)
UNION ALL
SELECT 7, pg_catalog.format('rule %I on %s', w.rulename, used.name)
FROM used JOIN pg_catalog.pg_rewrite w ON w.ev_class = used.oid WHERE used.relkind = 'r'
UNION ALL
SELECT 8, pg_catalog.format('policy %I on %s', pol.polname, used.name)
FROM used JOIN pg_catalog.pg_policy pol ON pol.polrelid = used.oid
UNION ALL
SELECT 9, pg_catalog.format('%s inherits, or is inherited from', used.name)
FROM used JOIN pg_catalog.pg_inherits h ON used.oid IN (h.inhparent, h.inhrelid)
UNION ALL
SELECT DISTINCT 10, pg_catalog.format('a default, constraint or index of %s executes a function of role %s', part.name,
                                  pg_catalog.pg_get_userbyid(p.proowner))
FROM part
JOIN pg_catalog.pg_depend dep ON dep.classid = part.classid AND dep.objid = part.objid
    AND dep.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
JOIN pg_catalog.pg_proc p ON p.oid = dep.refobjid
WHERE p.proowner NOT IN (SELECT trusted.oid FROM trusted)
UNION ALL
SELECT 11, pg_catalog.format('column %I of %s has type %s', a.attname, used.name, pg_catalog.format_type(a.atttypid, a.atttypmod))
FROM used
JOIN pg_catalog.pg_attribute a ON a.attrelid = used.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE used.relkind = 'r' AND used.run IS NULL
  AND t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
UNION ALL
SELECT 12, pg_catalog.format('function dupe_audit.%I belongs to role %s', p.proname, pg_catalog.pg_get_userbyid(p.proowner))
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = (SELECT ledger.oid FROM ledger) AND p.proowner NOT IN (SELECT trusted.oid FROM trusted)
ORDER BY rank, problem
