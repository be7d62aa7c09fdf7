-- Purpose: define the function that gives a table of a run to the owner of the application's table, and keeps all others out.
-- Lock: ACCESS EXCLUSIVE on that table of the run, until the transaction ends.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_private(v_relid pg_catalog.oid, v_name pg_catalog.text) RETURNS pg_catalog.void LANGUAGE plpgsql AS $private$
DECLARE
    v_owner pg_catalog.text := (SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) FROM pg_catalog.pg_class c WHERE c.oid = v_relid);
BEGIN
    IF ({may_own}) THEN
        EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %s', v_name, v_owner);
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_revoke_all}, pg_catalog.jsonb_build_object('object_name', pg_catalog.quote_literal(v_name)));
END
$private$
