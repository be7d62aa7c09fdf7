-- Purpose: define the function that changes the locked extras of a batch, and archives them as they were.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits; the rows are locked already.
-- Again: no; once per batch, after lock_rows, in the same READ COMMITTED transaction.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_amend(v_batch bigint, v_holes pg_catalog.jsonb, v_low bigint, v_high bigint) RETURNS bigint LANGUAGE plpgsql AS $amend$
DECLARE
    v_digest pg_catalog.text;
    v_row record;
BEGIN
    EXECUTE pg_temp.dupe_audit_fill({t_columns_digest}, v_holes) INTO v_digest;
    IF v_digest IS DISTINCT FROM v_holes ->> 'columns_digest' THEN
        RAISE EXCEPTION 'dupe-audit: the columns of % or a foreign key to it changed during the cleanup, or another table took its name; the batch was rolled back. Execute this script again.',
            v_holes ->> 'table';
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_amend_rows}, v_holes || pg_catalog.jsonb_build_object('batch', v_batch, 'low', v_low, 'high', v_high)) INTO v_row;
    IF v_row.judged <> v_row.changed OR v_row.changed <> v_row.archived THEN
        RAISE EXCEPTION 'dupe-audit: update-trigger: extras checked: %, changed: %, archived: %; the batch was rolled back. A trigger on % suppresses updates. What to do: docs/reference/findings/update-trigger.md',
            v_row.judged, v_row.changed, v_row.archived, v_holes ->> 'table';
    END IF;
    IF v_row.still_extras > 0 THEN
        RAISE EXCEPTION 'dupe-audit: amendment-incomplete: after amendment, extras of % are still duplicates of their survivor (extras: %); the batch was rolled back. What to do: docs/reference/findings/amendment-incomplete.md',
            v_holes ->> 'table', v_row.still_extras;
    END IF;
    RETURN v_row.changed;
END
$amend$
