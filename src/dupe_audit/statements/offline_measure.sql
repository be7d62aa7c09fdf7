-- Purpose: define the function that stops the script if the key of some row cannot be computed, or is too wide for an index.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_measure(v_holes pg_catalog.jsonb, v_expressions pg_catalog.text[], v_predicate pg_catalog.text,
    v_judge_width pg_catalog.bool, v_note pg_catalog.text)
RETURNS pg_catalog.void LANGUAGE plpgsql AS $measure$
DECLARE
    v_row record;
BEGIN
    BEGIN
        EXECUTE pg_temp.dupe_audit_fill({t_measure}, v_holes) INTO v_row;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        -- The server's message would contain the value.
        PERFORM pg_temp.dupe_audit_failing(v_holes, v_expressions, v_predicate, SQLSTATE, v_note);
        RAISE;
    END;
    IF v_judge_width AND v_row.widest_key > {widest_key} THEN
        RAISE EXCEPTION 'dupe-audit: key-too-wide: the widest key of table % takes % bytes; an index entry holds at most %. What to do: docs/reference/findings/key-too-wide.md',
            v_holes ->> 'table', v_row.widest_key, {widest_key} || v_note;
    END IF;
END
$measure$
