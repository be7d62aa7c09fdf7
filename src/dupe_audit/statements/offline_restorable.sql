-- Purpose: define the function that stops a pass before its first batch if rows could not be inserted again, or not be changed back.
-- Lock: ACCESS SHARE on the table and on those that it references, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_restorable(v_run bigint, v_holes pg_catalog.jsonb, v_rows pg_catalog.text) RETURNS pg_catalog.void LANGUAGE plpgsql AS $restorable$
DECLARE
    v_row record;
BEGIN
    SELECT v.* INTO v_row FROM pg_temp.dupe_audit_violated(v_run, v_holes, v_rows, v_holes ->> 'is_staged') AS v;
    IF v_row.v_count > 0 THEN
        RAISE EXCEPTION 'dupe-audit: cannot-restore: extras of % could not be inserted again, so a downgrade could not restore them (extras: %): %. What to do: docs/reference/findings/cannot-restore.md',
            v_holes ->> 'table', v_row.v_count, v_row.v_subject;
    END IF;
END
$restorable$
