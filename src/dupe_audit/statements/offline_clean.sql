-- Purpose: clean a run in passes and batches, each checked again under its row locks, by the same statements as online.
-- Lock: per batch on its rows as by lock_rows, without waiting; each batch is its own transaction.
-- Again: yes; it continues under the same run.
CREATE OR REPLACE PROCEDURE pg_temp.{signature} LANGUAGE plpgsql AS $clean$
DECLARE
    v_rule dupe_audit.run;
    v_holes pg_catalog.jsonb;
    v_fks pg_catalog.jsonb;
    v_extras bigint;
    v_low bigint;
    v_end bigint;
    v_high bigint;
    v_handled bigint;
    v_spared bigint;
    v_until pg_catalog.timestamptz;
    v_where_staged pg_catalog.text := {where_staged};
    v_size bigint;
    v_rows bigint;
    v_started pg_catalog.timestamptz;
    v_seconds double precision;
    v_disturbed boolean;
    v_bytes pg_catalog.text;
    v_gone bigint;
    v_times double precision[];
    v_sizes bigint[];
    v_level integer;
    v_below integer;
    v_above integer;
    v_average double precision;
    v_fastest double precision;
    v_fewer_help boolean;
    v_fitting bigint;
    v_schema pg_catalog.text;
    v_table pg_catalog.text;
    v_column pg_catalog.text;
    v_constraint pg_catalog.text;
BEGIN
    {opening};
    SELECT r.* INTO v_rule FROM dupe_audit.run r WHERE r.id = v_run;
    v_size := least(v_rule.batch_size, {first});
    {set_cleaning};
    EXECUTE 'DROP TABLE IF EXISTS {temporary}';
    {lists};
    COMMIT;
    v_until := pg_catalog.clock_timestamp() + interval {give_up_after};
    LOOP
        CALL pg_temp.dupe_audit_stage(v_run, v_fks, v_holes, v_extras);
        v_bytes := CASE WHEN ({toasted})
                        THEN pg_temp.dupe_audit_fill({t_row_bytes}, v_holes) ELSE '0' END;
        v_handled := 0;
        v_spared := 0;
        v_low := 1;
        WHILE v_low <= v_extras LOOP
            WHILE pg_temp.dupe_audit_lag() > v_rule.max_replica_lag LOOP
                COMMIT;
                PERFORM pg_catalog.pg_sleep(1);
            END LOOP;
            EXECUTE pg_temp.dupe_audit_fill({t_batch_end}, v_holes || pg_catalog.jsonb_build_object(
                'low', v_low, 'batch_size', v_size, 'bytes', v_bytes, 'most_bytes', {most_bytes})) INTO v_end, v_rows;
            v_high := v_end;{whole_groups}
            PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({batching}) AS planner(name, value);
            PERFORM pg_catalog.set_config('lock_timeout', {lock_timeout}, true);
            v_started := pg_catalog.clock_timestamp();
            v_disturbed := false;
            BEGIN
                v_gone := pg_temp.dupe_audit_batch(v_run, v_holes, v_fks, v_low, v_high, v_where_staged);
            EXCEPTION WHEN serialization_failure OR foreign_key_violation OR restrict_violation THEN
                IF {changes_rows} THEN
                    -- A foreign key of the table forbids a new value. Children fail with the same SQLSTATE, and the server always names the child's table.
                    GET STACKED DIAGNOSTICS v_schema = SCHEMA_NAME, v_table = TABLE_NAME, v_constraint = CONSTRAINT_NAME;
                    IF pg_catalog.format('%I.%I', v_schema, v_table) = v_holes ->> 'table' AND NOT EXISTS (
                            SELECT FROM pg_catalog.jsonb_array_elements(v_fks) AS f
                            WHERE (f ->> 'child', f ->> 'constraint_name') = (v_holes ->> 'table', v_constraint)) THEN
                        PERFORM pg_temp.dupe_audit_change_fails(v_holes, SQLSTATE, v_constraint, NULL);
                    END IF;
                END IF;
                -- In the middle of the batch others moved a row to another partition, or added a child.
                IF v_high = v_low AND v_rule.on_reference = 'repoint' AND SQLSTATE <> {serialization_failure} THEN
                    RAISE;
                END IF;
                v_disturbed := true;
            WHEN data_exception OR integrity_constraint_violation OR with_check_option_violation OR program_limit_exceeded OR out_of_memory THEN
                IF {changes_rows} THEN
                    -- The server's message would contain the value.
                    GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME, v_column = COLUMN_NAME;
                    PERFORM pg_temp.dupe_audit_change_fails(v_holes, SQLSTATE, v_constraint, v_column);
                END IF;
                RAISE;
            END;
            COMMIT;
            IF v_disturbed THEN
                v_size := greatest(1, (v_end - v_low + 1) / 2);
                CONTINUE WHEN v_end > v_low;
                v_gone := 0;
            ELSE
                v_seconds := extract(epoch FROM pg_catalog.clock_timestamp() - v_started);
                -- Part of the time does not depend on the rows, so averages of different sizes are compared.
                IF 2 * v_rows >= v_size OR v_seconds > {target} THEN
                    v_seconds := greatest(v_seconds, 0.001);
                    v_level := 1 + pg_catalog.floor(pg_catalog.log(2.0, v_rows));
                    v_average := coalesce(v_times[v_level], v_seconds);
                    IF v_seconds < v_average / {change} OR v_seconds > v_average * {change} THEN
                        v_times := NULL;
                        v_average := v_seconds;
                    END IF;
                    v_average := v_average + {weight} * (v_seconds - v_average);
                    v_times[v_level] := v_average;
                    v_sizes[v_level] := v_rows;
                    SELECT pg_catalog.max(n) FILTER (WHERE n < v_level), pg_catalog.min(n) FILTER (WHERE n > v_level),
                           pg_catalog.min(v_times[n])
                    INTO v_below, v_above, v_fastest
                    FROM pg_catalog.generate_series(1, 64) AS n WHERE v_times[n] IS NOT NULL;
                    v_fewer_help := coalesce(v_times[v_below] < v_average * (1 - {share} / 2), false);
                    v_fitting := pg_catalog.floor(v_rows * least({growth}, {margin} * {target} / v_average));
                    IF v_fitting >= 2 * v_rows THEN
                        v_size := v_fitting;
                    ELSIF v_below IS NULL AND v_rows > 1 THEN
                        v_size := least(v_rows / 2, v_fitting);
                    ELSIF v_fewer_help AND v_average > {target} THEN
                        v_size := v_rows / 2;
                    ELSIF v_fewer_help OR v_average - v_fastest > {target} / 2 THEN
                        v_size := v_rows;
                    ELSIF v_times[v_above] > v_average * (1 + {share} * (v_sizes[v_above]::double precision / v_rows - 1)) THEN
                        v_times[v_above] := v_times[v_above] * {fading};
                        v_size := v_rows;
                    ELSE
                        v_size := 2 * v_rows;
                    END IF;
                    v_size := greatest(1, least(v_rule.batch_size, v_size));
                END IF;
            END IF;
            v_handled := v_handled + v_gone;
            v_spared := v_spared + v_high - v_low + 1 - v_gone;
            v_low := v_high + 1;
            PERFORM pg_catalog.pg_sleep(v_rule.pause);
        END LOOP;
        RAISE NOTICE 'dupe-audit: run % {outcome} extras: %; left for the next pass: %', v_run, v_handled, v_spared;
        EXIT WHEN v_spared = 0{and_settled};{amend_again}
        v_where_staged := {anywhere};
        IF v_handled > 0 THEN
            v_until := pg_catalog.clock_timestamp() + interval {give_up_after};
        ELSIF pg_catalog.clock_timestamp() > v_until THEN
            RAISE EXCEPTION 'dupe-audit: extras of % could not be {outcome} within % (extras: %): they or their survivors are locked, or rows of other tables reference them. Execute this script again when those transactions have ended.',
                v_holes ->> 'table', interval {give_up_after}, v_spared;
        END IF;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(1);
    END LOOP;
    EXECUTE pg_catalog.format('DROP TABLE IF EXISTS %s', v_holes ->> 'stage');
    {closing};
    COMMIT;
END
$clean$
