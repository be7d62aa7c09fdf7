-- Purpose: revoke what default privileges granted: an archive must not be readable by more roles than its table (H129).
-- Lock: none on the application's tables.
-- Again: yes.
DO $dupe_audit$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.format('%I', r.rolname) END
        FROM pg_catalog.pg_class c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS g
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
        WHERE c.oid = {object_name}::pg_catalog.regclass::pg_catalog.oid AND g.grantee <> c.relowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s', {object_name}, grantee);
    END LOOP;
END
$dupe_audit$
