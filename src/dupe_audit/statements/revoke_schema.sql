-- Purpose: revoke what default privileges granted on the ledger's schema: nobody else may create objects in it.
-- Lock: none on the application's tables.
-- Again: yes; once, when the schema has just been created.
DO $dupe_audit$
DECLARE
    v_grantee text;
BEGIN
    FOR v_grantee IN
        SELECT DISTINCT CASE g.grantee WHEN 0::pg_catalog.oid THEN 'PUBLIC' ELSE pg_catalog.format('%I', r.rolname) END
        FROM pg_catalog.pg_namespace n
        CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS g
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
        WHERE n.nspname = 'dupe_audit' AND g.grantee <> n.nspowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON SCHEMA dupe_audit FROM %s', v_grantee);
    END LOOP;
END
$dupe_audit$
