-- Purpose: define the function that tries the amendments of a pass, and notes whether their rows may need a further pass, and whether writers added extras.
-- Lock: ACCESS SHARE on the table, the staged list and the archive, until the transaction ends.
-- Again: yes, in a new transaction.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_try_amending(v_run bigint, v_holes pg_catalog.jsonb, v_extras bigint) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $trial$
DECLARE
    v_covered pg_catalog.bool := pg_temp.dupe_audit_try_changes(v_run, true, v_holes, v_extras);
    v_arrived pg_catalog.bool := false;
BEGIN
    -- All extras of the first pass are new.
    IF v_covered AND (v_holes ->> 'collisions')::pg_catalog.int4 > 0 THEN
        EXECUTE pg_temp.dupe_audit_fill({t_has_new_extra}, v_holes) INTO v_arrived;
    END IF;
    RETURN v_holes || pg_catalog.jsonb_build_object('covered', v_covered OR (v_holes ->> 'covered')::pg_catalog.bool,
        'arrived', v_arrived OR (v_holes ->> 'arrived')::pg_catalog.bool);
END
$trial$
