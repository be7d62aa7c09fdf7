-- Purpose: revoke what default privileges granted: an archive must not be readable by more roles than its table (H129).
-- Lock: none on the application's tables.
-- Again: yes.
DO $dupe_audit$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        -- The table with the sequences of its columns.
        SELECT DISTINCT pg_catalog.format('%s dupe_audit.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname) AS object,
               CASE g.grantee WHEN 0::pg_catalog.oid THEN 'PUBLIC' ELSE pg_catalog.format('%I', r.rolname) END AS grantee
        FROM pg_catalog.pg_class c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS g
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
        WHERE g.grantee <> c.relowner
          AND (c.oid = {object_name}::pg_catalog.regclass::pg_catalog.oid
               OR c.oid IN (SELECT d.objid FROM pg_catalog.pg_depend d
                            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                              AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                              AND d.refobjid = {object_name}::pg_catalog.regclass::pg_catalog.oid AND d.deptype IN ('a', 'i')
                              AND EXISTS (SELECT FROM pg_catalog.pg_class s WHERE s.oid = d.objid AND s.relkind = 'S')))
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', v_grant.object, v_grant.grantee);
    END LOOP;
END
$dupe_audit$
