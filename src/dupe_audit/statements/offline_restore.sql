-- Purpose: put archived rows back in batches; a row that cannot be put back stays archived, with the reason.
-- Lock: ROW EXCLUSIVE on the table; each batch is its own transaction.
-- Again: yes; a row that is marked as restored is not put back twice.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_restore() LANGUAGE plpgsql AS $restore$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_run record;
    v_archive pg_catalog.text;
    v_holes pg_catalog.jsonb;
    v_below bigint := 9223372036854775807;
    v_high bigint;
    v_low bigint;
    v_row record;
    v_put record;
    v_id bigint;
    v_refused_rows bigint := 0;
    v_size bigint;
    v_batch bigint;
    v_restored bigint;
    v_reverted bigint;
    v_range record;
    v_ranges pg_catalog.jsonb := '[]';
    v_refused_children bigint := 0;
BEGIN
    SELECT u.v_run, u.v_holes INTO v_id, v_holes FROM pg_temp.dupe_audit_undo() AS u;
    IF v_id IS NULL THEN
        RAISE NOTICE 'dupe-audit: the ledger has no run of this key to restore';
        RETURN;
    END IF;
    SELECT r.* INTO v_run FROM dupe_audit.run r WHERE r.id = v_id;
    IF v_run.state = 'restored' THEN
        RAISE NOTICE 'dupe-audit: run % is restored', v_run.id;
        RETURN;
    END IF;
    IF v_run.purged_at IS NOT NULL THEN
        RAISE WARNING 'dupe-audit: run % was purged at %; rows that cannot be restored: %', v_run.id, v_run.purged_at, v_run.archived + v_run.amended + v_run.merged - v_run.restored - v_run.reverted - v_run.erased;
        RETURN;
    END IF;
    IF v_holes IS NOT NULL THEN
        v_archive := v_holes ->> 'archive';
        IF pg_catalog.to_regclass('dupe_audit.leaf') IS NOT NULL AND (SELECT c.relkind = 'p' FROM pg_catalog.pg_class c WHERE c.oid = v_relid) THEN
            EXECUTE pg_temp.dupe_audit_fill({t_strays}, pg_catalog.jsonb_build_object('run', v_run.id, 'relid', v_relid)) INTO v_row;
            IF v_row.former IS NOT NULL AND v_row.bounds IS NOT NULL THEN
                v_holes := v_holes || pg_catalog.jsonb_build_object('bounds', v_row.bounds, 'former', pg_catalog.format('%L::pg_catalog.text[]', v_row.former));
            END IF;
        END IF;
        LOOP
            PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({newest_first}) AS planner(name, value);
            EXECUTE pg_temp.dupe_audit_fill({t_restore_window}, v_holes || pg_catalog.jsonb_build_object(
                'below', v_below, 'batch_size', {batch_size}, 'of_batch',
                -- A row can be changed in several batches, so the batches are undone one by one.
                CASE WHEN {images} AND v_holes ? 'after' THEN pg_catalog.format('dupe_audit_id > (%s)', pg_temp.dupe_audit_fill({t_before_batch},
                    v_holes || pg_catalog.jsonb_build_object('below', v_below))) ELSE 'true' END)) INTO v_low, v_high, v_size;
            PERFORM pg_catalog.set_config(planner.name, 'on', true) FROM ({newest_first}) AS planner(name, value);
            EXIT WHEN v_size = 0;
            v_batch := (SELECT coalesce(pg_catalog.max(number), 0) + 1 FROM dupe_audit.batch WHERE run_id = v_run.id);
            BEGIN
                SELECT p.v_restored, p.v_reverted INTO v_restored, v_reverted FROM pg_temp.dupe_audit_put(v_holes, v_low, v_high) AS p;
            EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception OR with_check_option_violation
                      OR program_limit_exceeded OR out_of_memory OR internal_error THEN
                -- A row cannot be put back: restore this batch row by row.
                v_restored := 0;
                v_reverted := 0;
                FOR v_id IN EXECUTE pg_catalog.format('SELECT dupe_audit_id FROM %s WHERE dupe_audit_id BETWEEN %s AND %s '
                    'AND dupe_audit_restored_at IS NULL ORDER BY 1 DESC', v_archive, v_low, v_high) LOOP
                    BEGIN
                        SELECT p.v_restored, p.v_reverted INTO v_put FROM pg_temp.dupe_audit_put(v_holes, v_id, v_id) AS p;
                        v_restored := v_restored + v_put.v_restored;
                        v_reverted := v_reverted + v_put.v_reverted;
                    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception OR with_check_option_violation
                      OR program_limit_exceeded OR out_of_memory OR internal_error THEN
                        EXECUTE pg_catalog.format('UPDATE %s SET dupe_audit_problem = %L WHERE dupe_audit_id = %s', v_archive,
                            SQLSTATE || ': ' || SQLERRM, v_id);
                    END;
                END LOOP;
            END;
            v_refused_rows := v_refused_rows + v_size - v_restored - v_reverted;
            EXECUTE pg_temp.dupe_audit_fill({t_record_batch}, pg_catalog.jsonb_build_object('run', v_run.id, 'batch', v_batch,
                'archived', 0, 'restored', v_restored, 'spared', v_size - v_restored - v_reverted));
            IF {images} THEN
                EXECUTE pg_temp.dupe_audit_fill({t_record_images}, pg_catalog.jsonb_build_object(
                    'run', v_run.id, 'batch', v_batch, 'amended', 0, 'merged', 0, 'reverted', v_reverted));
            END IF;
            v_below := v_low;
            COMMIT;
        END LOOP;
    END IF;
    -- Children are pointed back after all rows are in the table, the last moved first.
    FOR v_range IN SELECT f.*, k.number FROM ({moved_children}) AS k JOIN ({references}) AS f
        ON f.child_relid = k.relid AND f.columns = k.columns AND f.identity = k.identity LOOP
        FOR v_row IN EXECUTE pg_catalog.format('SELECT dupe_audit_batch AS batch, pg_catalog.min(dupe_audit_id) AS low, pg_catalog.max(dupe_audit_id) AS high '
            'FROM dupe_audit.children_%s_%s WHERE dupe_audit_returned_at IS NULL GROUP BY 1', v_run.id, v_range.number) LOOP
            v_ranges := v_ranges || (pg_catalog.to_jsonb(v_range) || v_holes || pg_catalog.jsonb_build_object('run', v_run.id,
                'record', pg_catalog.format('dupe_audit.children_%s_%s', v_run.id, v_range.number),
                'batch', v_row.batch, 'low', v_row.low, 'high', v_row.high));
        END LOOP;
    END LOOP;
    FOR v_holes IN SELECT r FROM pg_catalog.jsonb_array_elements(v_ranges) AS r
        ORDER BY (r ->> 'batch')::pg_catalog.int8 DESC, (r ->> 'number')::pg_catalog.int4 DESC LOOP
        BEGIN
            EXECUTE pg_temp.dupe_audit_fill({t_return_children}, v_holes);
            SET CONSTRAINTS ALL IMMEDIATE;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception OR with_check_option_violation
                      OR program_limit_exceeded OR out_of_memory OR internal_error THEN
            FOR v_id IN EXECUTE pg_catalog.format('SELECT dupe_audit_id FROM %s WHERE dupe_audit_id BETWEEN %s AND %s '
                'AND dupe_audit_returned_at IS NULL ORDER BY 1 DESC', v_holes ->> 'record', v_holes ->> 'low', v_holes ->> 'high') LOOP
                BEGIN
                    EXECUTE pg_temp.dupe_audit_fill({t_return_children}, v_holes || pg_catalog.jsonb_build_object('low', v_id, 'high', v_id));
                    SET CONSTRAINTS ALL IMMEDIATE;
                EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception OR with_check_option_violation
                      OR program_limit_exceeded OR out_of_memory OR internal_error THEN
                    EXECUTE pg_catalog.format('UPDATE %s SET dupe_audit_problem = %L WHERE dupe_audit_id = %s', v_holes ->> 'record',
                        SQLSTATE || ': ' || SQLERRM, v_id);
                    v_refused_children := v_refused_children + 1;
                END;
            END LOOP;
        END;
        COMMIT;
    END LOOP;
    IF v_refused_children > 0 THEN
        RAISE EXCEPTION 'dupe-audit: children-not-returned: children still point at the survivors (children: %); column dupe_audit_problem of the tables dupe_audit.children_%_* gives the reason for each. What to do: docs/reference/findings/children-not-returned.md',
            v_refused_children, v_run.id;
    END IF;
    IF v_refused_rows > 0 THEN
        RAISE EXCEPTION 'dupe-audit: rows-not-restored: rows stay in % (rows: %); its column dupe_audit_problem gives the reason for each. What to do: docs/reference/findings/rows-not-restored.md', v_archive, v_refused_rows;
    END IF;
    -- Again: the archive may have changed in the meantime.
    PERFORM * FROM pg_temp.dupe_audit_undo();
    {set_restored};
END
$restore$
