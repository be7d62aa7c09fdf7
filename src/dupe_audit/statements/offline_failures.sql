-- Purpose: define the function that counts the staged extras, or the groups of a merge, that cannot be changed, by reason; NULL if each part alone can be.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes; each part is tried in a copy that is dropped with it.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_failures(v_amends pg_catalog.bool, v_holes pg_catalog.jsonb, v_extras bigint) RETURNS pg_catalog.text LANGUAGE plpgsql AS $failures$
DECLARE
    v_lows bigint[] := ARRAY[1];
    v_highs bigint[] := ARRAY[v_extras];
    v_reasons pg_catalog.text[] := ARRAY[]::pg_catalog.text[];
    v_reason pg_catalog.text;
    v_constraint pg_catalog.text;
    v_column pg_catalog.text;
    v_low bigint;
    v_high bigint;
    v_after bigint;
    v_middle bigint;
    v_least pg_catalog.text;
    v_what pg_catalog.text := CASE WHEN v_amends THEN 'extra' ELSE 'group' END;
BEGIN
    -- A part that fails is halved until it is one row or one group.
    WHILE pg_catalog.cardinality(v_lows) > 0 AND pg_catalog.cardinality(v_reasons) < {most_failures} LOOP
        v_low := v_lows[1];
        v_high := v_highs[1];
        v_lows := v_lows[2:];
        v_highs := v_highs[2:];
        v_reason := NULL;
        BEGIN
            EXECUTE pg_temp.dupe_audit_fill({t_create_trial}, v_holes);
            EXECUTE pg_temp.dupe_audit_fill(CASE WHEN v_amends THEN {t_try_amended} ELSE {t_try_merged} END,
                v_holes || pg_catalog.jsonb_build_object('low', v_low, 'high', v_high));
            DROP TABLE pg_temp.dupe_audit_trial;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR with_check_option_violation OR plpgsql_error
                      OR program_limit_exceeded OR out_of_memory THEN
            GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME, v_column = COLUMN_NAME;
            v_reason := pg_temp.dupe_audit_why(SQLSTATE, v_constraint, v_column);
        END;
        CONTINUE WHEN v_reason IS NULL;
        v_middle := NULL;
        IF v_amends AND v_low < v_high THEN
            v_middle := (v_low + v_high) / 2 + 1;
        ELSIF v_low < v_high THEN
            FOREACH v_after IN ARRAY ARRAY[(v_low + v_high) / 2, v_low] LOOP
                EXECUTE pg_temp.dupe_audit_fill({t_next_group}, v_holes || pg_catalog.jsonb_build_object('n', v_after)) INTO v_middle;
                EXIT WHEN v_middle > v_low AND v_middle <= v_high;
                v_middle := NULL;
            END LOOP;
        END IF;
        IF v_middle IS NULL THEN
            v_reasons := v_reasons || v_reason;
        ELSE
            v_lows := ARRAY[v_low, v_middle] || v_lows;
            v_highs := ARRAY[v_middle - 1, v_high] || v_highs;
        END IF;
    END LOOP;
    v_least := CASE WHEN pg_catalog.cardinality(v_lows) > 0 THEN 'at least ' ELSE '' END;
    RETURN (
        SELECT pg_catalog.string_agg(pg_catalog.format('%s%s %s: %s', v_least, r.count, v_what || CASE r.count WHEN 1 THEN '' ELSE 's' END, r.reason),
                                     '; ' ORDER BY r.count DESC, r.reason)
        FROM (SELECT u.reason, pg_catalog.count(*) FROM pg_catalog.unnest(v_reasons) AS u(reason) GROUP BY u.reason) AS r);
END
$failures$
