-- Purpose: define the function that lets the survivors of a batch take over values of the extras that it has archived, and archives them as they were.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits; the rows are locked already.
-- Again: no; once per batch, after move_rows, in the same READ COMMITTED transaction.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_merge(v_batch bigint, v_first_id bigint, v_holes pg_catalog.jsonb) RETURNS bigint LANGUAGE plpgsql AS $merge$
DECLARE
    v_row record;
BEGIN
    IF v_first_id IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_merge_rows}, v_holes || pg_catalog.jsonb_build_object('batch', v_batch, 'first_id', v_first_id)) INTO v_row;
    IF v_row.judged <> v_row.changed OR v_row.changed <> v_row.archived THEN
        RAISE EXCEPTION 'dupe-audit: update-trigger: survivors to change: %, changed: %, archived: %; the batch was rolled back. A trigger on % suppresses updates. What to do: docs/reference/findings/update-trigger.md',
            v_row.judged, v_row.changed, v_row.archived, v_holes ->> 'table';
    END IF;
    IF v_row.other_keys > 0 THEN
        RAISE EXCEPTION 'dupe-audit: column-not-changeable: the merge changes the key of survivors of % (survivors: %); the batch was rolled back. What to do: docs/reference/findings/column-not-changeable.md',
            v_holes ->> 'table', v_row.other_keys;
    END IF;
    RETURN v_row.changed;
END
$merge$
