-- Purpose: stop before the version is stamped, unless the constraint or index exists, is valid, has this definition, and the table has no extras.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes.
DO $guard$
DECLARE
    v_holes pg_catalog.jsonb;
    v_extras bigint;
    v_before pg_catalog.jsonb;
BEGIN
    PERFORM pg_temp.dupe_audit_trust(({relid}));
    IF NOT (SELECT s.enforced FROM pg_temp.dupe_audit_state() AS s) THEN
        RAISE EXCEPTION 'dupe-audit: constraint-missing: {form} % does not exist, is not valid, or has another definition; the version was not stamped. What to do: docs/reference/findings/constraint-missing.md', {name};
    END IF;
    SELECT pg_catalog.to_jsonb(f) INTO v_holes FROM ({fragments}) AS f;
    SELECT pg_catalog.jsonb_object_agg(planner.name, pg_catalog.current_setting(planner.name)) INTO v_before FROM ({sequential}) AS planner(name, value);
    PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({sequential}) AS planner(name, value);
    EXECUTE pg_temp.dupe_audit_fill({t_count_extras}, v_holes) INTO v_extras;
    IF v_extras > 0 THEN
        RAISE EXCEPTION 'dupe-audit: duplicates-remain: table % has extras (%), counted without any index; the version was not stamped. What to do: docs/reference/findings/duplicates-remain.md',
            ({relid})::pg_catalog.regclass, v_extras;
    END IF;
    -- In this transaction, Alembic stamps the version, and statements of the revision can follow.
    PERFORM pg_catalog.set_config(name, value, true) FROM pg_catalog.jsonb_each_text(v_before) AS planner(name, value);
    RAISE NOTICE 'dupe-audit: {form} % of table % is enforced and valid, and no duplicate was found', {name}, ({relid})::pg_catalog.regclass;
END
$guard$
