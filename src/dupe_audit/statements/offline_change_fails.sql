-- Purpose: define the function that stops the script because a row could not be changed in a batch, although a trial before it succeeded.
-- Lock: none.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_change_fails(v_holes pg_catalog.jsonb, v_code pg_catalog.text, v_constraint pg_catalog.text,
    v_column pg_catalog.text) RETURNS pg_catalog.void LANGUAGE plpgsql AS $why$
BEGIN
    RAISE EXCEPTION 'dupe-audit: change-fails: rows of % cannot be changed as set_ or merge says: at least 1 row: %; the batch was rolled back. What to do: docs/reference/findings/change-fails.md',
        v_holes ->> 'table', pg_temp.dupe_audit_why(v_code, v_constraint, v_column);
END
$why$
