-- Purpose: define the function that puts back the rows of a part of the archive, or fails if one of them cannot be put back as it was.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits.
-- Again: yes; a row that is marked as restored is not put back twice.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_put(v_holes pg_catalog.jsonb, v_low bigint, v_high bigint, OUT v_restored bigint, OUT v_reverted bigint)
LANGUAGE plpgsql AS $put$
DECLARE
    v_part pg_catalog.jsonb := v_holes || pg_catalog.jsonb_build_object('low', v_low, 'high', v_high);
    v_row record;
    v_leaf pg_catalog.text;
BEGIN
    -- In a DEFAULT partition, a row would be separated from its survivor, and its own partition could not be attached again.
    IF v_holes ? 'former' THEN
        EXECUTE pg_temp.dupe_audit_fill({t_stray_leaf}, v_part) INTO v_leaf;
        IF v_leaf IS NOT NULL THEN
            RAISE EXCEPTION 'its partition % was detached or dropped, so it would go to a DEFAULT partition', v_leaf;
        END IF;
    END IF;
    v_reverted := 0;{revert}
    -- The text of a large row can exceed what a value may hold, so a single row is compared without it.
    EXECUTE pg_temp.dupe_audit_fill({t_restore_rows}, v_part || pg_catalog.jsonb_build_object('changed', pg_temp.dupe_audit_fill(
        CASE WHEN v_low < v_high THEN {t_restore_changed} ELSE {t_restore_changed_row} END, v_holes))) INTO v_row;
    SET CONSTRAINTS ALL IMMEDIATE;
    IF v_row.marked <> v_row.put OR v_row.changed > 0 THEN
        RAISE EXCEPTION '%', CASE WHEN v_holes ->> 'generated_since' IS NULL THEN 'a trigger on the table changed the row or kept it out'
            ELSE pg_catalog.format('the value of column %s, which is generated now, differs from the archived one; or a trigger changed the row or kept it out',
                                   v_holes ->> 'generated_since') END;
    END IF;
    v_restored := v_row.put;
END
$put$
