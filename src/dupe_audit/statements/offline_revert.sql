-- Purpose: define what changes amended and merged rows back that are still as the run has left them, and notes why others stay.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits.
-- Again: yes; a row that is marked as restored is not changed twice.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_revert(v_part pg_catalog.jsonb) RETURNS bigint LANGUAGE plpgsql AS $revert$
DECLARE
    v_row record;
BEGIN
    IF NOT v_part ? 'after' THEN
        RETURN 0;
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_restore_images}, v_part) INTO v_row;
    IF v_row.put <> v_row.marked OR v_row.put + v_row.noted <> v_row.chosen OR v_row.changed > 0 THEN
        RAISE EXCEPTION 'a trigger on the table changed the row, or kept it as it was';
    END IF;
    RETURN v_row.put;
END
$revert$
