-- Purpose: archive the extras in batches, each checked again under its row locks, by the same statements as online.
-- Lock: per batch FOR UPDATE on its rows, without waiting; each batch is its own transaction.
-- Again: yes; it continues under the same run.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_clean(v_run bigint) LANGUAGE plpgsql AS $clean$
DECLARE
    v_relid pg_catalog.oid;
    v_rule dupe_audit.run;
    v_row record;
    v_holes pg_catalog.jsonb;
    v_extras bigint;
    v_groups bigint;
    v_low bigint;
    v_high bigint;
    v_batch bigint;
    v_result record;
    v_archived bigint;
    v_spared bigint;
    v_until pg_catalog.timestamptz;
    v_where_staged pg_catalog.text := {where_staged};
    v_fk pg_catalog.jsonb;
    v_fks pg_catalog.jsonb := '[]';
    v_number integer;
    v_record pg_catalog.text;
    v_children bigint;
    v_unlinked bigint;
    v_any_child boolean;
    v_leaving bigint;
    v_size bigint;
    v_rows bigint;
    v_started pg_catalog.timestamptz;
    v_seconds double precision;
    v_disturbed boolean;
    v_bytes pg_catalog.text;
    v_acting boolean := false;
    v_before bigint;
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
    v_subjects text[];
    v_counting pg_catalog.text;
    v_counts bigint[];
    v_types pg_catalog.oid[];
    v_texts pg_catalog.text[];
    v_names text[];
BEGIN
    PERFORM pg_temp.dupe_audit_trust(({relid}));
    SELECT r.* INTO v_rule FROM dupe_audit.run r WHERE r.id = v_run;
    v_relid := (SELECT ({run_relation}) FROM dupe_audit.run r WHERE r.id = v_run);
    PERFORM pg_temp.dupe_audit_trust(v_relid, v_run);
    IF v_rule.keep IS NULL THEN
        RAISE EXCEPTION 'dupe-audit: duplicates: the build on table % failed, and no op.archive_duplicates() was executed for this key', v_relid::pg_catalog.regclass;
    END IF;
    v_types := pg_temp.dupe_audit_expressions(v_relid, {expressions}, v_rule.predicate, v_rule.order_expressions, '');
    FOR v_row IN {blockers} LOOP
        IF v_row.id = ANY ({errors}) THEN
            RAISE EXCEPTION 'dupe-audit: %: % (table %). What to do: docs/reference/findings/%.md',
                v_row.id, v_row.subject, v_relid::pg_catalog.regclass, v_row.id;
        END IF;
    END LOOP;
    PERFORM pg_temp.dupe_audit_try(v_relid, {expressions}, v_rule.predicate, '');
    SELECT pg_catalog.to_jsonb(f) INTO v_holes
    FROM ({fragments}) AS f;
    IF v_rule.on_reference = 'repoint' AND 'child-trigger' = ANY ({errors}) THEN
        FOR v_row IN {child_triggers} LOOP
            RAISE EXCEPTION 'dupe-audit: child-trigger: %. What to do: docs/reference/findings/child-trigger.md', v_row.subject;
        END LOOP;
    END IF;
    PERFORM pg_temp.dupe_audit_measure(v_holes, {expressions}, v_rule.predicate, 'key-too-wide' = ANY ({errors}), '');
    v_holes := v_holes || pg_catalog.jsonb_build_object('relid', v_relid, 't_to_rank', 'true', 'pattern', '0',
        'stage', pg_catalog.format('dupe_audit.stage_%s', v_run), 'archive', pg_catalog.format('dupe_audit.archive_%s', v_run));
    IF pg_catalog.to_regclass(v_holes ->> 'archive') IS NULL THEN
        EXECUTE pg_temp.dupe_audit_fill({t_create_archive}, v_holes);
        EXECUTE pg_temp.dupe_audit_fill({t_finish_archive}, v_holes);
        EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %I', v_holes ->> 'archive',
            (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c WHERE c.oid = v_relid));
        EXECUTE pg_temp.dupe_audit_fill({t_revoke_all},
            pg_catalog.jsonb_build_object('object_name', pg_catalog.quote_literal(v_holes ->> 'archive')));
    END IF;
    -- A run that began before a column was added continues with it, as online.
    FOR v_row IN EXECUTE pg_temp.dupe_audit_fill({t_archive_drift}, pg_catalog.jsonb_build_object(
            'relid', v_relid, 'archive', pg_catalog.quote_literal(v_holes ->> 'archive'))) LOOP
        IF v_row.archived_type IS NOT NULL THEN
            RAISE EXCEPTION 'dupe-audit: column % is % in the table, but % in %; restore or purge that run first, then execute this script again',
                v_row.name, v_row.type, v_row.archived_type, v_holes ->> 'archive';
        END IF;
        EXECUTE pg_catalog.format('ALTER TABLE %s ADD COLUMN %s %s%s', v_holes ->> 'archive', v_row.name, v_row.type, v_row.filling);
        IF v_row.filler IS NOT NULL THEN
            EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %s DROP %s', v_holes ->> 'archive', v_row.name, v_row.filler);
        END IF;
    END LOOP;
    EXECUTE pg_temp.dupe_audit_fill({t_restore_fragments}, pg_catalog.jsonb_build_object(
        'relid', v_relid, 'archive', pg_catalog.quote_literal(v_holes ->> 'archive'), 'run', v_run)) INTO v_row;
    IF v_row.moved IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: columns % of table % were renamed since run % began; rename them back, or restore or purge that run first', v_row.moved, v_relid::pg_catalog.regclass, v_run;
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_record_columns}, pg_catalog.jsonb_build_object('relid', v_relid, 'run', v_run));
    v_holes := v_holes || pg_catalog.jsonb_build_object('e_children', '0', 'e_unreferenced_by_others', 'true');
    FOR v_row IN {references} LOOP
        v_fk := pg_catalog.to_jsonb(v_row) || pg_catalog.jsonb_build_object(
            'columns', pg_catalog.format('%L::pg_catalog.int2[]', v_row.columns), 'identity', pg_catalog.format('%L::pg_catalog.int2[]', v_row.identity));
        IF v_rule.on_reference = 'repoint' AND v_row.cannot IS NULL THEN
            EXECUTE pg_temp.dupe_audit_fill({t_enter_child}, v_fk || pg_catalog.jsonb_build_object('run', v_run,
                'moved_children', pg_temp.dupe_audit_fill({t_moved_children}, pg_catalog.jsonb_build_object('run', v_run)),
                'child', pg_catalog.quote_literal(v_row.child), 'constraint_name', pg_catalog.quote_literal(v_row.constraint_name))) INTO v_number;
            v_record := pg_catalog.format('dupe_audit.children_%s_%s', v_run, v_number);
            v_fk := v_fk || pg_catalog.jsonb_build_object('number', v_number, 'record', v_record);
            IF pg_catalog.to_regclass(v_record) IS NULL THEN
                EXECUTE pg_temp.dupe_audit_fill({t_create_record}, v_fk);
                EXECUTE pg_temp.dupe_audit_fill({t_finish_record}, v_fk);
                EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %I', v_record,
                    (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c WHERE c.oid = v_relid));
                EXECUTE pg_temp.dupe_audit_fill({t_revoke_all}, pg_catalog.jsonb_build_object('object_name', pg_catalog.quote_literal(v_record)));
            END IF;
            v_holes := v_holes || pg_catalog.jsonb_build_object('e_children', pg_catalog.format(
                '%s + (SELECT pg_catalog.count(*) FROM %s c WHERE %s)', v_holes ->> 'e_children', v_row.source, v_row.condition));
        ELSE
            v_holes := v_holes || pg_catalog.jsonb_build_object('e_unreferenced_by_others', pg_catalog.format(
                '%s AND (SELECT true FROM %s c WHERE %s LIMIT 1) IS NULL', v_holes ->> 'e_unreferenced_by_others', v_row.source, v_row.condition));
        END IF;
        v_fks := v_fks || v_fk;
        v_acting := v_acting OR v_row.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT');
    END LOOP;
    v_texts := {expressions} || v_rule.order_expressions;
    v_size := least(v_rule.batch_size, {first});
    UPDATE dupe_audit.run SET state = 'cleaning', finished_at = NULL WHERE id = v_run;
    EXECUTE 'DROP TABLE IF EXISTS pg_temp.dupe_audit_locked, pg_temp.dupe_audit_locked_child';
    {locked};
    {locked_child};
    COMMIT;
    v_until := pg_catalog.clock_timestamp() + interval {give_up_after};
    LOOP
        PERFORM pg_catalog.set_config(name, 'off', true) FROM pg_catalog.unnest({ranking}) AS name;
        EXECUTE pg_catalog.format('DROP TABLE IF EXISTS %s', v_holes ->> 'stage');
        BEGIN
            EXECUTE pg_temp.dupe_audit_fill({t_stage}, v_holes);
        EXCEPTION WHEN OTHERS OR assert_failure THEN
            -- The server's message can contain a value of a row that was written since the check.
            PERFORM pg_temp.dupe_audit_failing(v_holes, v_texts, v_rule.predicate, SQLSTATE, '');
            RAISE;
        END;
        EXECUTE pg_catalog.format('ALTER TABLE %s ADD PRIMARY KEY (n), ADD COLUMN children bigint DEFAULT 0', v_holes ->> 'stage');
        EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %I', v_holes ->> 'stage',
            (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c WHERE c.oid = v_relid));
        EXECUTE pg_temp.dupe_audit_fill({t_revoke_all},
            pg_catalog.jsonb_build_object('object_name', pg_catalog.quote_literal(v_holes ->> 'stage')));
        EXECUTE pg_catalog.format('ANALYZE %s', v_holes ->> 'stage');
        EXECUTE pg_catalog.format('SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE place = 2) FROM %s', v_holes ->> 'stage')
            INTO v_extras, v_groups;
        EXECUTE pg_catalog.format('UPDATE dupe_audit.run SET groups = greatest(groups, %s), extras = archived + %s, '
            'rows_before = coalesce(rows_before, (SELECT pg_catalog.count(*) FROM ONLY %s)) WHERE id = %s',
            v_groups, v_extras, v_holes ->> 'table', v_run);
        COMMIT;
        v_bytes := CASE WHEN ({toasted})
                        THEN pg_temp.dupe_audit_fill({t_row_bytes}, v_holes) ELSE '0' END;
        IF v_extras > 0 THEN
            PERFORM pg_catalog.set_config(name, 'off', true) FROM pg_catalog.unnest({batching}) AS name;
            IF v_holes ->> 'refuse_divergent' = 'true' THEN
                EXECUTE pg_temp.dupe_audit_fill({t_divergent}, v_holes) INTO v_row;
                IF v_row.divergent_groups > 0 THEN
                    EXECUTE 'SELECT ' || (v_holes ->> 'compared_names') INTO v_names;
                    RAISE EXCEPTION 'dupe-audit: divergent-duplicates: rows of % (%)% carry different data under one key (groups: %, extras: %). Columns that differ, with the number of groups: %. The rule: keep %, divergent %, ignored columns: %. Nothing was archived in this pass',
                        v_holes ->> 'table', pg_catalog.array_to_string(v_rule.key_columns, ', '), coalesce(' WHERE ' || v_rule.predicate, ''),
                        v_row.divergent_groups, v_row.extras, {differing_columns}, v_rule.keep, v_rule.divergent,
                        coalesce(nullif(pg_catalog.array_to_string(v_rule.ignored, ', '), ''), 'none');
                END IF;
            END IF;
            SELECT i.subjects, i.counts INTO v_subjects, v_counting FROM ({insertable}) AS i;
            IF v_counting IS NOT NULL THEN
                EXECUTE pg_temp.dupe_audit_fill({t_count_uninsertable}, v_holes || pg_catalog.jsonb_build_object(
                    'counts', v_counting, 'extras', v_holes ->> 'stage', 'is_extra', v_holes ->> 'is_staged')) INTO v_counts;
                FOR v_place IN 1 .. pg_catalog.cardinality(v_counts) LOOP
                    IF v_counts[v_place] > 0 THEN
                        RAISE EXCEPTION 'dupe-audit: cannot-restore: extras of % could not be inserted again, so a downgrade could not restore them (extras: %): %. What to do: docs/reference/findings/cannot-restore.md',
                            v_holes ->> 'table', v_counts[v_place], v_subjects[v_place];
                    END IF;
                END LOOP;
            END IF;
            v_any_child := false;
            FOR v_fk IN SELECT pg_catalog.jsonb_array_elements(v_fks) LOOP
                EXECUTE pg_temp.dupe_audit_fill({t_stage_children}, v_holes || v_fk) INTO v_children, v_unlinked;
                v_any_child := v_any_child OR v_children > 0;
                IF v_children > 0 AND (v_rule.on_reference = 'refuse' OR v_fk ->> 'cannot' IS NOT NULL OR v_unlinked > 0) THEN
                    RAISE EXCEPTION 'dupe-audit: %: rows of % (%, ON DELETE %) reference extras (rows: %)%',
                        CASE v_rule.on_reference WHEN 'refuse' THEN 'foreign-key-references' ELSE 'cannot-repoint' END,
                        v_fk ->> 'child', v_fk ->> 'constraint_name', v_fk ->> 'on_delete', v_children,
                        CASE WHEN v_rule.on_reference = 'refuse' THEN ''
                             ELSE ': ' || coalesce(v_fk ->> 'cannot', 'the survivors of some have no value in the referenced columns') END;
                END IF;
            END LOOP;
            IF v_any_child THEN
                FOR v_row IN SELECT * FROM ({collisions}) AS entry LOOP
                    EXECUTE v_row.query INTO v_children;
                    IF v_children > 0 THEN
                        RAISE EXCEPTION 'dupe-audit: repoint-collision: rows of % would collide on % once they point at the survivors (rows: %)',
                            v_row.child, v_row.index, v_children;
                    END IF;
                END LOOP;
            END IF;
        END IF;
        v_archived := 0;
        v_spared := 0;
        v_low := 1;
        WHILE v_low <= v_extras LOOP
            WHILE (SELECT extract(epoch FROM pg_catalog.max(replay_lag)) FROM pg_catalog.pg_stat_replication) > v_rule.max_replica_lag LOOP
                COMMIT;
                PERFORM pg_catalog.pg_sleep(1);
            END LOOP;
            EXECUTE pg_temp.dupe_audit_fill({t_batch_end}, v_holes || pg_catalog.jsonb_build_object(
                'low', v_low, 'batch_size', v_size, 'bytes', v_bytes, 'most_bytes', {most_bytes})) INTO v_high, v_rows;
            PERFORM pg_catalog.set_config(name, 'off', true) FROM pg_catalog.unnest({batching}) AS name;
            PERFORM pg_catalog.set_config('lock_timeout', {lock_timeout}, true);
            IF v_acting AND NOT ({counts_tracked}) THEN
                PERFORM pg_catalog.set_config('track_counts', 'on', true);
            END IF;
            v_started := pg_catalog.clock_timestamp();
            v_disturbed := false;
            BEGIN
                v_batch := (SELECT coalesce(pg_catalog.max(number), 0) + 1 FROM dupe_audit.batch WHERE run_id = v_run);
                EXECUTE pg_temp.dupe_audit_fill({t_lock_rows}, v_holes || pg_catalog.jsonb_build_object(
                    'low', v_low, 'high', v_high, 't_where_staged', v_where_staged));
                v_leaving := NULL;
                IF v_rule.on_reference = 'repoint' THEN
                    FOR v_fk IN SELECT f FROM pg_catalog.jsonb_array_elements(v_fks) AS f WHERE f ->> 'cannot' IS NULL
                        ORDER BY (f ->> 'number')::pg_catalog.int4 LOOP
                        EXECUTE pg_temp.dupe_audit_fill({t_lock_children}, v_holes || v_fk);
                    END LOOP;
                    BEGIN
                        EXECUTE pg_temp.dupe_audit_fill({t_judge_extras}, v_holes) INTO v_leaving;
                    EXCEPTION WHEN OTHERS OR assert_failure THEN
                        PERFORM pg_temp.dupe_audit_failing(v_holes, v_texts, v_rule.predicate, SQLSTATE, '; the batch was rolled back');
                        RAISE;
                    END;
                    FOR v_fk IN SELECT f FROM pg_catalog.jsonb_array_elements(v_fks) AS f WHERE f ->> 'cannot' IS NULL
                        ORDER BY (f ->> 'number')::pg_catalog.int4 LOOP
                        EXECUTE pg_temp.dupe_audit_fill({t_repoint_children}, v_holes || v_fk || pg_catalog.jsonb_build_object('batch', v_batch)) INTO v_row;
                        IF v_row.found <> v_row.pointed OR v_row.pointed <> v_row.noted THEN
                            RAISE EXCEPTION 'dupe-audit: child-trigger: rows of % to point at a survivor: %, pointed: %; the batch was rolled back. A trigger on that table suppresses updates.',
                                v_fk ->> 'child', v_row.found, v_row.pointed;
                        END IF;
                        UPDATE dupe_audit.child c SET moved = c.moved + v_row.pointed WHERE c.run_id = v_run AND c.number = (v_fk ->> 'number')::pg_catalog.int4;
                    END LOOP;
                END IF;
                IF v_acting THEN
                    SELECT c.changed INTO v_before FROM ({changed_children}) AS c;
                END IF;
                BEGIN
                    EXECUTE pg_temp.dupe_audit_fill({t_move_rows}, v_holes || pg_catalog.jsonb_build_object('batch', v_batch)) INTO v_result;
                EXCEPTION WHEN OTHERS OR assert_failure THEN
                    PERFORM pg_temp.dupe_audit_failing(v_holes, v_texts, v_rule.predicate, SQLSTATE, '; the batch was rolled back');
                    RAISE;
                END;
                IF v_result.columns_digest IS DISTINCT FROM v_holes ->> 'columns_digest' THEN
                    RAISE EXCEPTION 'dupe-audit: the columns of % or a foreign key to it changed during the cleanup, or another table took its name; the batch was rolled back. Execute this script again.',
                        v_holes ->> 'table';
                END IF;
                IF v_leaving <> v_result.judged THEN
                    EXECUTE pg_temp.dupe_audit_fill({t_stray_children}, v_holes) INTO v_any_child;
                    IF v_any_child AND NOT (v_high = v_low AND v_where_staged = {anywhere} AND EXISTS ({child_triggers})) THEN
                        RAISE EXCEPTION 'dupe-audit: a child was added without a lock on its parent' USING ERRCODE = 'serialization_failure';
                    END IF;
                    RAISE EXCEPTION 'dupe-audit: extras to remove after their children moved: %, but removable: %; the batch was rolled back. A trigger changes rows in between: see delete-trigger and child-trigger in docs/reference/findings.',
                        v_leaving, v_result.judged;
                END IF;
                IF v_result.judged <> v_result.deleted OR v_result.deleted <> v_result.archived THEN
                    RAISE EXCEPTION 'dupe-audit: delete-trigger: extras checked: %, deleted: %, archived: %; the batch was rolled back. A trigger on the table suppresses deletes.',
                        v_result.judged, v_result.deleted, v_result.archived;
                END IF;
                IF v_acting THEN
                    SELECT c.changed - CASE WHEN c.itself THEN v_result.deleted ELSE 0 END AS changed INTO v_row FROM ({changed_children}) AS c;
                    IF v_row.changed <> v_before THEN
                        -- Once, it can have been a child that arrived; in a later pass such a child is a reference, and is counted.
                        IF v_high = v_low AND v_where_staged = {anywhere} AND ({delete_triggers}) IS NOT NULL THEN
                            RAISE EXCEPTION 'dupe-audit: delete-trigger: the delete of one extra of % also changed a table that references it, most likely by trigger %; the batch was rolled back. What to do: docs/reference/findings/delete-trigger.md',
                                v_holes ->> 'table', ({delete_triggers});
                        END IF;
                        RAISE EXCEPTION 'dupe-audit: a child was added without a lock on its parent' USING ERRCODE = 'serialization_failure';
                    END IF;
                END IF;
                EXECUTE pg_temp.dupe_audit_fill({t_record_batch}, pg_catalog.jsonb_build_object('run', v_run, 'batch', v_batch,
                    'archived', v_result.archived, 'restored', 0, 'spared', v_high - v_low + 1 - v_result.archived));
                SET CONSTRAINTS ALL IMMEDIATE;
            EXCEPTION WHEN serialization_failure OR foreign_key_violation OR restrict_violation THEN
                -- In the middle of the batch others moved a row to another partition, or added a child.
                IF v_high = v_low AND v_rule.on_reference = 'repoint' AND SQLSTATE <> '40001' THEN
                    RAISE;
                END IF;
                v_disturbed := true;
            END;
            COMMIT;
            IF v_disturbed THEN
                v_size := greatest(1, (v_high - v_low + 1) / 2);
                CONTINUE WHEN v_high > v_low;
                v_gone := 0;
            ELSE
                v_gone := v_result.archived;
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
            v_archived := v_archived + v_gone;
            v_spared := v_spared + v_high - v_low + 1 - v_gone;
            v_low := v_high + 1;
            PERFORM pg_catalog.pg_sleep(v_rule.pause);
        END LOOP;
        RAISE NOTICE 'dupe-audit: run % archived extras: %; left for the next pass: %', v_run, v_archived, v_spared;
        EXIT WHEN v_spared = 0;
        v_where_staged := {anywhere};
        IF v_archived > 0 THEN
            v_until := pg_catalog.clock_timestamp() + interval {give_up_after};
        ELSIF pg_catalog.clock_timestamp() > v_until THEN
            RAISE EXCEPTION 'dupe-audit: extras of % could not be archived within % (extras: %): they or their survivors are locked, or rows of other tables reference them. Execute this script again when those transactions have ended.',
                v_holes ->> 'table', interval {give_up_after}, v_spared;
        END IF;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(1);
    END LOOP;
    EXECUTE pg_catalog.format('DROP TABLE IF EXISTS %s', v_holes ->> 'stage');
    UPDATE dupe_audit.run SET state = 'clean', finished_at = pg_catalog.clock_timestamp() WHERE id = v_run;
    COMMIT;
END
$clean$
