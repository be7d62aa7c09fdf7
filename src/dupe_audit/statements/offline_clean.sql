-- Purpose: archive the extras, in batches, each judged again under its row locks: the same statements as online.
-- Lock: per batch FOR UPDATE on its rows, waiting for nobody; every batch is a transaction of its own.
-- Again: yes; it continues under the same run.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_clean(v_run bigint) LANGUAGE plpgsql AS $clean$
DECLARE
    v_relid oid;
    v_rule dupe_audit.run;
    v_found record;
    v_holes jsonb;
    v_extras bigint;
    v_groups bigint;
    v_low bigint;
    v_high bigint;
    v_batch bigint;
    v_moved record;
    v_archived bigint;
    v_spared bigint;
    v_until timestamptz;
    v_where_staged text := {where_staged};
    v_fk jsonb;
    v_fks jsonb := '[]';
    v_number integer;
    v_record text;
    v_children bigint;
    v_unlinked bigint;
    v_any_child boolean;
    v_leaving bigint;
BEGIN
    SELECT r.* INTO v_rule FROM dupe_audit.run r WHERE r.id = v_run;
    v_relid := v_rule.relid;
    IF v_rule.keep IS NULL THEN
        RAISE EXCEPTION 'dupe-audit: duplicates: no op.archive_duplicates() says what to do about them';
    END IF;
    FOR v_found IN {blockers} LOOP
        IF v_found.id = ANY ({errors}) THEN
            RAISE EXCEPTION 'dupe-audit: %: % (see the page of that finding)', v_found.id, v_found.subject;
        END IF;
    END LOOP;
    SELECT pg_catalog.to_jsonb(f) INTO v_holes
    FROM ({fragments}) AS f;
    IF v_rule.on_reference = 'repoint' AND 'child-trigger' = ANY ({errors}) THEN
        FOR v_found IN {child_triggers} LOOP
            RAISE EXCEPTION 'dupe-audit: child-trigger: % (see the page of that finding)', v_found.subject;
        END LOOP;
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_measure}, v_holes) INTO v_found;
    IF v_found.widest_key > {widest_key} AND 'key-too-wide' = ANY ({errors}) THEN
        RAISE EXCEPTION 'dupe-audit: key-too-wide: the widest key takes % bytes', v_found.widest_key;
    END IF;
    v_holes := v_holes || pg_catalog.jsonb_build_object('relid', v_relid,
        'stage', pg_catalog.format('dupe_audit.stage_%s', v_run), 'archive', pg_catalog.format('dupe_audit.archive_%s', v_run));
    IF pg_catalog.to_regclass(v_holes ->> 'archive') IS NULL THEN
        EXECUTE pg_temp.dupe_audit_fill({t_create_archive}, v_holes);
        EXECUTE pg_temp.dupe_audit_fill({t_finish_archive}, v_holes);
        EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %I', v_holes ->> 'archive',
            (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c WHERE c.oid = v_relid));
        EXECUTE pg_temp.dupe_audit_fill({t_revoke_all},
            pg_catalog.jsonb_build_object('object_name', pg_catalog.quote_literal(v_holes ->> 'archive')));
    END IF;
    -- A run that was begun before a column came goes on with it, as online.
    FOR v_found IN EXECUTE pg_temp.dupe_audit_fill({t_archive_drift}, pg_catalog.jsonb_build_object(
            'relid', v_relid, 'archive', pg_catalog.quote_literal(v_holes ->> 'archive'))) LOOP
        IF v_found.archived_type IS NOT NULL THEN
            RAISE EXCEPTION 'dupe-audit: column % is % in the table, but % in %; restore or purge that run first',
                v_found.name, v_found.type, v_found.archived_type, v_holes ->> 'archive';
        END IF;
        EXECUTE pg_catalog.format('ALTER TABLE %s ADD COLUMN %s %s%s', v_holes ->> 'archive', v_found.name, v_found.type, v_found.filling);
        IF v_found.filler IS NOT NULL THEN
            EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %s DROP %s', v_holes ->> 'archive', v_found.name, v_found.filler);
        END IF;
    END LOOP;
    v_holes := v_holes || pg_catalog.jsonb_build_object('e_children', '0', 'e_unreferenced_by_others', 'true');
    FOR v_found IN {references} LOOP
        v_fk := pg_catalog.to_jsonb(v_found) || pg_catalog.jsonb_build_object(
            'columns', pg_catalog.format('%L::pg_catalog.int2[]', v_found.columns), 'identity', pg_catalog.format('%L::pg_catalog.int2[]', v_found.identity));
        IF v_rule.on_reference = 'repoint' AND v_found.cannot IS NULL THEN
            EXECUTE pg_temp.dupe_audit_fill({t_enter_child}, v_fk || pg_catalog.jsonb_build_object('run', v_run,
                'child', pg_catalog.quote_literal(v_found.child), 'constraint_name', pg_catalog.quote_literal(v_found.constraint_name))) INTO v_number;
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
                '%s + (SELECT count(*) FROM %s c WHERE %s)', v_holes ->> 'e_children', v_found.source, v_found.condition));
        ELSE
            v_holes := v_holes || pg_catalog.jsonb_build_object('e_unreferenced_by_others', pg_catalog.format(
                '%s AND (SELECT true FROM %s c WHERE %s LIMIT 1) IS NULL', v_holes ->> 'e_unreferenced_by_others', v_found.source, v_found.condition));
        END IF;
        v_fks := v_fks || v_fk;
    END LOOP;
    UPDATE dupe_audit.run SET state = 'cleaning', finished_at = NULL WHERE id = v_run;
    EXECUTE 'DROP TABLE IF EXISTS pg_temp.dupe_audit_locked, pg_temp.dupe_audit_locked_child';
    {locked};
    {locked_child};
    COMMIT;
    v_until := pg_catalog.clock_timestamp() + interval {give_up_after};
    LOOP
        PERFORM pg_catalog.set_config(name, 'off', true) FROM unnest({ranking}) AS name;
        EXECUTE pg_catalog.format('DROP TABLE IF EXISTS %s', v_holes ->> 'stage');
        EXECUTE pg_temp.dupe_audit_fill({t_stage}, v_holes);
        EXECUTE pg_catalog.format('ALTER TABLE %s ADD PRIMARY KEY (n), ADD COLUMN children bigint DEFAULT 0', v_holes ->> 'stage');
        EXECUTE pg_catalog.format('ANALYZE %s', v_holes ->> 'stage');
        EXECUTE pg_catalog.format('SELECT count(*), count(*) FILTER (WHERE place = 2) FROM %s', v_holes ->> 'stage')
            INTO v_extras, v_groups;
        EXECUTE pg_catalog.format('UPDATE dupe_audit.run SET groups = greatest(groups, %s), extras = archived + %s, '
            'rows_before = coalesce(rows_before, (SELECT count(*) FROM ONLY %s)) WHERE id = %s',
            v_groups, v_extras, v_holes ->> 'table', v_run);
        COMMIT;
        IF v_extras > 0 THEN
            PERFORM pg_catalog.set_config(name, 'off', true) FROM unnest({batching}) AS name;
            IF v_holes ->> 'refuse_divergent' = 'true' THEN
                EXECUTE pg_temp.dupe_audit_fill({t_divergent}, v_holes) INTO v_found;
                IF v_found.groups > 0 THEN
                    RAISE EXCEPTION 'dupe-audit: divergent-duplicates: % groups with % extras carry different data; nothing was archived in this pass',
                        v_found.groups, v_found.extras;
                END IF;
            END IF;
            v_any_child := false;
            FOR v_fk IN SELECT pg_catalog.jsonb_array_elements(v_fks) LOOP
                EXECUTE pg_temp.dupe_audit_fill({t_stage_children}, v_holes || v_fk) INTO v_children, v_unlinked;
                v_any_child := v_any_child OR v_children > 0;
                IF v_children > 0 AND (v_rule.on_reference = 'refuse' OR v_fk ->> 'cannot' IS NOT NULL OR v_unlinked > 0) THEN
                    RAISE EXCEPTION 'dupe-audit: %: % rows of % (%, ON DELETE %) reference extras%',
                        CASE v_rule.on_reference WHEN 'refuse' THEN 'foreign-key-references' ELSE 'cannot-repoint' END,
                        v_children, v_fk ->> 'child', v_fk ->> 'constraint_name', v_fk ->> 'on_delete',
                        CASE WHEN v_rule.on_reference = 'refuse' THEN ''
                             ELSE ': ' || coalesce(v_fk ->> 'cannot', 'the survivors of some have no value in the referenced columns') END;
                END IF;
            END LOOP;
            IF v_any_child THEN
                FOR v_found IN SELECT * FROM ({collisions}) AS entry LOOP
                    EXECUTE v_found.query INTO v_children;
                    IF v_children > 0 THEN
                        RAISE EXCEPTION 'dupe-audit: repoint-collision: % rows of % would collide on %', v_children, v_found.child, v_found.index;
                    END IF;
                END LOOP;
            END IF;
        END IF;
        v_archived := 0;
        v_spared := 0;
        v_low := 1;
        WHILE v_low <= v_extras LOOP
            WHILE (SELECT extract(epoch FROM max(replay_lag)) FROM pg_catalog.pg_stat_replication) > v_rule.max_replica_lag LOOP
                COMMIT;
                PERFORM pg_catalog.pg_sleep(1);
            END LOOP;
            EXECUTE pg_temp.dupe_audit_fill({t_batch_end}, v_holes || pg_catalog.jsonb_build_object(
                'low', v_low, 'batch_size', v_rule.batch_size)) INTO v_high;
            PERFORM pg_catalog.set_config(name, 'off', true) FROM unnest({batching}) AS name;
            PERFORM pg_catalog.set_config('lock_timeout', {lock_timeout}, true);
            v_batch := (SELECT coalesce(max(number), 0) + 1 FROM dupe_audit.batch WHERE run_id = v_run);
            EXECUTE pg_temp.dupe_audit_fill({t_lock_rows}, v_holes || pg_catalog.jsonb_build_object(
                'low', v_low, 'high', v_high, 't_where_staged', v_where_staged));
            v_leaving := NULL;
            IF v_rule.on_reference = 'repoint' THEN
                FOR v_fk IN SELECT f FROM pg_catalog.jsonb_array_elements(v_fks) AS f WHERE f ->> 'cannot' IS NULL
                    ORDER BY (f ->> 'number')::pg_catalog.int4 LOOP
                    EXECUTE pg_temp.dupe_audit_fill({t_lock_children}, v_holes || v_fk);
                END LOOP;
                EXECUTE pg_temp.dupe_audit_fill({t_judge_extras}, v_holes) INTO v_leaving;
                FOR v_fk IN SELECT f FROM pg_catalog.jsonb_array_elements(v_fks) AS f WHERE f ->> 'cannot' IS NULL
                    ORDER BY (f ->> 'number')::pg_catalog.int4 LOOP
                    EXECUTE pg_temp.dupe_audit_fill({t_repoint_children}, v_holes || v_fk || pg_catalog.jsonb_build_object('batch', v_batch)) INTO v_found;
                    IF v_found.found <> v_found.pointed OR v_found.pointed <> v_found.noted THEN
                        RAISE EXCEPTION 'dupe-audit: child-trigger: of % rows of % % were pointed at a survivor', v_found.found, v_fk ->> 'child', v_found.pointed;
                    END IF;
                    UPDATE dupe_audit.child c SET moved = c.moved + v_found.pointed WHERE c.run_id = v_run AND c.number = (v_fk ->> 'number')::integer;
                END LOOP;
            END IF;
            EXECUTE pg_temp.dupe_audit_fill({t_move_rows}, v_holes || pg_catalog.jsonb_build_object('batch', v_batch)) INTO v_moved;
            IF v_moved.columns_digest IS DISTINCT FROM v_holes ->> 'columns_digest' THEN
                RAISE EXCEPTION 'dupe-audit: the table''s columns changed, or a foreign key to it, or another table took its name, while it was being cleaned; run this script again';
            END IF;
            IF v_leaving <> v_moved.judged THEN
                RAISE EXCEPTION 'dupe-audit: % extras were to leave with their children, but % can', v_leaving, v_moved.judged;
            END IF;
            IF v_moved.judged <> v_moved.deleted OR v_moved.deleted <> v_moved.archived THEN
                RAISE EXCEPTION 'dupe-audit: delete-trigger: of % extras % were deleted and % archived', v_moved.judged, v_moved.deleted, v_moved.archived;
            END IF;
            EXECUTE pg_temp.dupe_audit_fill({t_record_batch}, pg_catalog.jsonb_build_object('run', v_run, 'batch', v_batch,
                'archived', v_moved.archived, 'restored', 0, 'spared', v_high - v_low + 1 - v_moved.archived));
            v_archived := v_archived + v_moved.archived;
            v_spared := v_spared + v_high - v_low + 1 - v_moved.archived;
            v_low := v_high + 1;
            COMMIT;
            PERFORM pg_catalog.pg_sleep(v_rule.pause);
        END LOOP;
        RAISE NOTICE 'dupe-audit: run %: % extras archived, % left for another pass', v_run, v_archived, v_spared;
        EXIT WHEN v_spared = 0;
        v_where_staged := {anywhere};
        IF v_archived > 0 THEN
            v_until := pg_catalog.clock_timestamp() + interval {give_up_after};
        ELSIF pg_catalog.clock_timestamp() > v_until THEN
            RAISE EXCEPTION 'dupe-audit: % extras stay locked or referenced; run this script again when their holders have ended', v_spared;
        END IF;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(1);
    END LOOP;
    EXECUTE pg_catalog.format('DROP TABLE IF EXISTS %s', v_holes ->> 'stage');
    UPDATE dupe_audit.run SET state = 'clean', finished_at = pg_catalog.clock_timestamp() WHERE id = v_run;
    COMMIT;
END
$clean$
