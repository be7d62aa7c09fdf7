-- Purpose: define the function that changes amended and merged rows back that are still as the run has left them, and notes why others stay.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits.
-- Again: yes; a row that is marked as restored is not changed twice.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_revert(v_holes pg_catalog.jsonb) RETURNS bigint LANGUAGE plpgsql AS $revert$
DECLARE
    v_part pg_catalog.jsonb := v_holes || pg_catalog.jsonb_build_object('relid', v_holes -> 'reverted_relid', 'run', v_holes -> 'reverted_run',
        'run_relation', {run_relation});
    v_row record;
    v_earlier record;
    v_images pg_catalog.jsonb;
BEGIN
    IF NOT v_part ? 'after' THEN
        RETURN 0;
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_restore_images}, v_part) INTO v_row;
    IF v_row.put <> v_row.marked OR v_row.put + v_row.noted <> v_row.chosen OR v_row.changed > 0 THEN
        RAISE EXCEPTION 'a trigger on the table changed the row, or kept it as it was';
    END IF;
    FOR v_earlier IN EXECUTE pg_temp.dupe_audit_fill({t_earlier_runs}, v_part) LOOP
        EXECUTE pg_catalog.format('SELECT pg_catalog.to_jsonb(i) FROM (%s) AS i', pg_temp.dupe_audit_fill({t_image_fragments},
            v_part || pg_catalog.jsonb_build_object('run', v_earlier.id, 'after', pg_catalog.quote_literal(v_earlier.after)))) INTO v_images;
        IF v_images ->> 't_is_f' IS NOT NULL THEN
            EXECUTE pg_temp.dupe_audit_fill({t_pass_on}, v_part || v_images || pg_catalog.jsonb_build_object('after', v_earlier.after));
        END IF;
    END LOOP;
    RETURN v_row.put;
END
$revert$
