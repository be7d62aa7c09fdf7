-- Purpose: define a batch: lock its extras and their survivors, judge them again, and handle them as the rule says.
-- Lock: on those rows as by lock_rows, without waiting, until the batch commits.
-- Again: yes; in a new transaction.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_batch(v_run bigint, v_holes pg_catalog.jsonb, v_fks pg_catalog.jsonb, v_low bigint, v_high bigint,
    v_where_staged pg_catalog.text) RETURNS bigint LANGUAGE plpgsql AS $batch$
DECLARE
    v_batch bigint := (SELECT coalesce(pg_catalog.max(number), 0) + 1 FROM dupe_audit.batch WHERE run_id = v_run);
    v_archived bigint := 0;
    v_amended bigint := 0;
    v_merged bigint := 0;
BEGIN
    EXECUTE pg_temp.dupe_audit_fill({t_lock_rows}, v_holes || pg_catalog.jsonb_build_object(
        'low', v_low, 'high', v_high, 'where_staged', v_where_staged));{outcomes}
    EXECUTE pg_temp.dupe_audit_fill({t_record_batch}, pg_catalog.jsonb_build_object('run', v_run, 'batch', v_batch,
        'archived', v_archived, 'restored', 0, 'spared', v_high - v_low + 1 - v_archived - v_amended));{images}
    SET CONSTRAINTS ALL IMMEDIATE;
    RETURN v_archived + v_amended;
END
$batch$
