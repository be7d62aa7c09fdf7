-- Purpose: define the function that tries every change of a pass on a temporary copy of the table, and stops if a row cannot be changed that way.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes, in a new transaction, which drops the copy; returns whether the key still covers a changed extra.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_try_changes(v_run bigint, v_amends pg_catalog.bool, v_holes pg_catalog.jsonb, v_extras bigint) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $trial$
DECLARE
    v_row record;
    v_constraint pg_catalog.text;
    v_column pg_catalog.text;
    v_remaining bigint;
BEGIN
    BEGIN
        EXECUTE pg_temp.dupe_audit_fill({t_create_trial}, v_holes);
        EXECUTE pg_temp.dupe_audit_fill(CASE WHEN v_amends THEN {t_try_amended} ELSE {t_try_merged} END,
            v_holes || pg_catalog.jsonb_build_object('low', 1, 'high', v_extras));
        EXECUTE pg_temp.dupe_audit_fill({t_count_tried}, v_holes) INTO v_row;
        v_remaining := v_row.same_keys;
        IF v_amends AND v_remaining = 0 AND v_row.covered > 0 THEN
            v_remaining := pg_temp.dupe_audit_settle(v_holes);
        END IF;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR with_check_option_violation OR plpgsql_error
                  OR program_limit_exceeded OR out_of_memory THEN
        -- The server's message would contain the value.
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME, v_column = COLUMN_NAME;
        RAISE EXCEPTION 'dupe-audit: change-fails: rows of % cannot be changed as set_ or merge says: %; nothing was archived or changed in this pass. What to do: docs/reference/findings/change-fails.md',
            v_holes ->> 'table', coalesce(pg_temp.dupe_audit_failures(v_amends, v_holes, v_extras),
                pg_catalog.format('at least 1 row: %s', pg_temp.dupe_audit_why(SQLSTATE, v_constraint, v_column)));
    END;
    IF v_amends AND v_remaining > 0 THEN
        RAISE EXCEPTION 'dupe-audit: amendment-incomplete: after amendment, extras of % would still have the key of another row (extras: %); nothing was archived or changed in this pass. What to do: docs/reference/findings/amendment-incomplete.md',
            v_holes ->> 'table', v_remaining;
    ELSIF NOT v_amends AND v_row.same_keys < v_row.tried THEN
        RAISE EXCEPTION 'dupe-audit: column-not-changeable: the merge changes the key of survivors of % (survivors: %); nothing was archived or changed in this pass. What to do: docs/reference/findings/column-not-changeable.md',
            v_holes ->> 'table', v_row.tried - v_row.same_keys;
    END IF;
    PERFORM pg_temp.dupe_audit_try_constraints(v_run, v_amends, v_holes);
    RETURN v_row.covered > 0;
END
$trial$
