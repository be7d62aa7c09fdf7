-- Purpose: define the function that returns how many tried rows would have the key of another row after all passes; 0 if that cannot be known.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes; it changes the temporary copy only.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_settle(v_holes pg_catalog.jsonb) RETURNS bigint LANGUAGE plpgsql SET constraint_exclusion = 'on' AS $settle$
DECLARE
    v_unsettled bigint;
    v_value pg_catalog.text;
    v_plan pg_catalog.jsonb;
BEGIN
    FOR v_pass IN 1 .. {most_collisions} LOOP
        EXECUTE pg_temp.dupe_audit_fill({t_settle_tried}, v_holes) INTO v_unsettled;
        EXIT WHEN v_unsettled = 0;
        IF v_pass = 1 THEN
            -- A subquery would read rows of the table as they are now, and not as a pass leaves them.
            FOR v_value IN SELECT c.value FROM pg_catalog.regexp_split_to_table(v_holes ->> 'changes', ', ') AS c(value) LOOP
                EXECUTE pg_temp.dupe_audit_fill({t_explain_immutable}, v_holes || pg_catalog.jsonb_build_object('value', v_value)) INTO v_plan;
                IF v_plan -> 0 -> 'Plan' ->> 'One-Time Filter' IS DISTINCT FROM 'false' THEN
                    RETURN 0;
                END IF;
            END LOOP;
        END IF;
    END LOOP;
    RETURN v_unsettled;
END
$settle$
