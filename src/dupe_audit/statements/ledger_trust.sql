-- Purpose: list what in schema dupe_audit is owned by a role that is not trusted, or would execute something when it is used.
-- Lock: none beyond catalogs; nothing in the schema is read.
-- Again: yes, it only reads.
-- A superuser is a member of every role, so membership proves nothing for one (H199).
-- It is planned each time, which takes longer than executing it; so it has few joins.
WITH me AS (
    SELECT r.oid, r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER
), trusted AS (
    -- ARRAY(), because an aggregate of no rows is NULL, and then nothing would be refused.
    SELECT ARRAY(
        SELECT r.oid
        FROM pg_catalog.pg_roles r CROSS JOIN me
        WHERE r.rolsuper OR r.oid = me.oid
           OR r.oid = (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
           -- Its triggers are executed by the work on the table anyway.
           OR r.oid = (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = ({relid})::pg_catalog.oid)
           OR (NOT me.rolsuper AND ({reading} OR pg_catalog.pg_has_role(me.oid, r.oid, 'USAGE')))) AS roles
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
), executed AS (
    SELECT 6 AS rank, pg_catalog.format('trigger %I on %s executes a function of', tg.tgname, used.name) AS what, tg.tgfoid AS function
    FROM used JOIN pg_catalog.pg_trigger tg ON tg.tgrelid = used.oid AND NOT tg.tgisinternal
    UNION ALL
    SELECT 10, pg_catalog.format('a default, constraint or index of %s executes a function of', used.name), dep.function
    FROM used JOIN (
        SELECT d.refobjid AS function, CASE d.classid
                   WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid THEN (SELECT ad.adrelid FROM pg_catalog.pg_attrdef ad WHERE ad.oid = d.objid)
                   WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid THEN (SELECT con.conrelid FROM pg_catalog.pg_constraint con WHERE con.oid = d.objid)
                   WHEN 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid THEN d.objid END AS relid
        FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
    ) AS dep ON dep.relid = used.oid
    UNION ALL
    -- There is no index by schema, so the functions are looked up as what would be dropped with it.
    SELECT 12, NULL, dep.objid
    FROM pg_catalog.pg_depend dep
    WHERE dep.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid AND dep.refobjid = (SELECT ledger.oid FROM ledger)
      AND dep.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
)
SELECT 1 AS rank, pg_catalog.format('the schema belongs to role %s', pg_catalog.pg_get_userbyid(ledger.nspowner)) AS problem
FROM ledger WHERE ledger.nspowner <> ALL ((SELECT trusted.roles FROM trusted)::pg_catalog.oid[])
UNION ALL
SELECT 2, 'every role can create objects in the schema'
FROM ledger CROSS JOIN LATERAL pg_catalog.aclexplode(ledger.nspacl) AS g
WHERE g.grantee = 0::pg_catalog.oid AND g.privilege_type = 'CREATE'
UNION ALL
SELECT judged.rank, judged.problem
FROM used CROSS JOIN trusted CROSS JOIN LATERAL (
    VALUES (3, CASE WHEN used.relkind NOT IN ('r', 'i', 'S')
                      OR (used.relname IN ('run', 'batch', 'child', 'leaf', 'campaign') AND used.relkind IN ('i', 'S'))
                    THEN pg_catalog.format('%s is a %s', used.name, used.kind) END),
           -- An index, and the sequence of a column, have the owner of their table.
           (4, CASE WHEN used.relowner <> ALL (trusted.roles) AND used.relkind <> 'i'
                     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                     WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AND d.objid = used.oid
                                       AND d.refclassid = d.classid AND d.refobjsubid <> 0 AND d.deptype IN ('a', 'i'))
                    THEN pg_catalog.format('%s %s belongs to role %s', used.kind, used.name, pg_catalog.pg_get_userbyid(used.relowner)) END),
           (5, CASE WHEN EXISTS (SELECT FROM pg_catalog.aclexplode(used.relacl) AS g
                                 WHERE g.grantee = 0::pg_catalog.oid
                                   AND g.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER'))
                    THEN pg_catalog.format('every role can write to %s', used.name) END),
           (9, CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE used.oid IN (h.inhparent, h.inhrelid))
                    THEN pg_catalog.format('%s inherits, or is inherited from', used.name) END)
) AS judged(rank, problem)
WHERE judged.problem IS NOT NULL
UNION ALL
SELECT 7, pg_catalog.format('rule %I on %s', w.rulename, used.name)
FROM used JOIN pg_catalog.pg_rewrite w ON w.ev_class = used.oid WHERE used.relkind = 'r'
UNION ALL
SELECT 8, pg_catalog.format('policy %I on %s', pol.polname, used.name)
FROM used JOIN pg_catalog.pg_policy pol ON pol.polrelid = used.oid
UNION ALL
SELECT 11, pg_catalog.format('column %I of %s has type %s', a.attname, used.name, pg_catalog.format_type(a.atttypid, a.atttypmod))
FROM used
JOIN pg_catalog.pg_attribute a ON a.attrelid = used.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE used.relkind = 'r' AND used.run IS NULL
  -- PostgreSQL's own types with lower numbers are in pg_catalog.
  AND a.atttypid >= 10000::pg_catalog.oid
  AND (SELECT t.typnamespace FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid) <> 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
UNION ALL
SELECT DISTINCT executed.rank, pg_catalog.format('%s role %s', coalesce(executed.what, pg_catalog.format('function dupe_audit.%I belongs to', p.proname)),
                                                 pg_catalog.pg_get_userbyid(p.proowner))
FROM executed JOIN pg_catalog.pg_proc p ON p.oid = executed.function
WHERE p.proowner <> ALL ((SELECT trusted.roles FROM trusted)::pg_catalog.oid[])
ORDER BY rank, problem
