-- Purpose: adopt the finished indexes of all leaves: give the levels their parts from the root down, attach leaf by leaf, then attach the inner levels from the deepest up.
-- Lock: all levels at once while they get their parts, then one leaf or level at a time, each for an instant; one wait lasts at most lock_timeout.
-- Again: yes; it reads the catalog first, and continues.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_adopt_tree(v_run bigint) LANGUAGE plpgsql AS $adopt$
DECLARE
    v_root pg_catalog.oid := ({relid});
    v_part record;
    v_until pg_catalog.timestamptz := pg_catalog.clock_timestamp() + interval {give_up_after};
    v_pause float8 := 0.1;
    v_lacking pg_catalog.text[];
    v_done bigint;
    v_blocked pg_catalog.text[];
    v_relids pg_catalog.oid[];
    v_leaves boolean;
    v_levels pg_catalog.jsonb;
BEGIN
    PERFORM pg_temp.dupe_audit_trust(v_root, v_run);
    IF EXISTS (SELECT FROM pg_temp.dupe_audit_parts(v_run) AS p WHERE p.is_tree AND p.own IS NULL) THEN
        PERFORM pg_temp.dupe_audit_same_tree(v_root, 'Nothing was adopted.');
    END IF;
    v_lacking := ARRAY(SELECT p.name FROM pg_temp.dupe_audit_parts(v_run) AS p
                       CROSS JOIN LATERAL pg_temp.dupe_audit_part_state(p.relid, p.index_name, p.building) AS s
                       WHERE NOT p.is_tree AND NOT p.attached AND NOT s.valid);
    IF pg_catalog.cardinality(v_lacking) > 0 THEN
        RAISE EXCEPTION 'dupe-audit: the indexes of some partitions could not be built (partitions: %, the first: %); the errors above say why. Nothing was adopted, and the whole table was not locked. Remove the cause, then execute this script again.',
            pg_catalog.cardinality(v_lacking), v_lacking[1];
    END IF;
    COMMIT;
    LOOP
        BEGIN
            PERFORM pg_catalog.set_config('lock_timeout', {lock_timeout}, true), pg_catalog.set_config('synchronous_commit', 'local', true);
            v_levels := (SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(p) ORDER BY p.level, p.relid) FROM pg_temp.dupe_audit_parts(v_run) AS p WHERE p.is_tree);
            IF EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(v_levels) AS e WHERE e ->> 'own' IS NULL) THEN
                -- While the levels are locked, no partition can be added or removed; from then on, a new one has the constraint from its creation.
                FOR v_part IN SELECT e ->> 'name' AS name FROM pg_catalog.jsonb_array_elements(v_levels) WITH ORDINALITY AS l(e, ord) ORDER BY l.ord LOOP
                    EXECUTE pg_catalog.format('LOCK TABLE ONLY %s IN %s MODE', v_part.name, {level_lock});
                END LOOP;
                PERFORM pg_temp.dupe_audit_same_tree(v_root, 'Nothing was adopted.');
                FOR v_part IN SELECT e ->> 'name' AS name, e ->> 'index_name' AS index_name, (e ->> 'leaf')::pg_catalog.int8 AS leaf
                              FROM pg_catalog.jsonb_array_elements(v_levels) WITH ORDINALITY AS l(e, ord) WHERE e ->> 'own' IS NULL ORDER BY l.ord LOOP
                    UPDATE dupe_audit.leaf SET building = true, index_name = v_part.index_name WHERE id = v_part.leaf;
                    EXECUTE pg_temp.dupe_audit_fill({only_level}, pg_catalog.jsonb_build_object('name', pg_catalog.quote_ident(v_part.index_name), 'table', v_part.name,
                        'key_columns', {key_columns}, 'include', {include}, 'nulls', {nulls}, 'form', {form}, 'options', '', 'where', {where}));
                END LOOP;
            END IF;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF pg_catalog.clock_timestamp() > v_until THEN
                RAISE EXCEPTION 'dupe-audit: the locks on % and its levels were not acquired within %. Nothing was adopted. Execute this script again when the transactions that hold them have ended.',
                    v_root::pg_catalog.regclass, interval {give_up_after};
            END IF;
        END;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(v_pause * (0.5 + pg_catalog.random()));
        v_pause := least(v_pause * 1.6, 10);
    END LOOP;
    COMMIT;
    -- Attaching a leaf below a level that is already attached would lock everything from the root down; in this order, nothing does.
    FOREACH v_leaves IN ARRAY ARRAY[true, false] LOOP
        v_until := pg_catalog.clock_timestamp() + interval {give_up_after};
        v_pause := 0.1;
        LOOP
            v_done := 0;
            v_blocked := ARRAY[]::pg_catalog.text[];
            v_relids := ARRAY[]::pg_catalog.oid[];
            FOR v_part IN SELECT p.*, s.is_constraint FROM pg_temp.dupe_audit_parts(v_run) AS p
                          CROSS JOIN LATERAL pg_temp.dupe_audit_part_state(p.relid, p.index_name, p.building) AS s
                          WHERE p.level > 0 AND p.is_tree <> v_leaves AND NOT p.attached ORDER BY p.level DESC, p.relid LOOP
                -- A partition that was detached or dropped meanwhile is left out.
                CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = v_part.relid AND h.inhparent = v_part.parent AND NOT h.inhdetachpending);
                BEGIN
                    PERFORM pg_catalog.set_config('lock_timeout', {lock_timeout}, true), pg_catalog.set_config('synchronous_commit', 'local', true);
                    -- The level comes first: a session that creates a partition locks it, and then the DEFAULT leaf.
                    EXECUTE pg_catalog.format('LOCK TABLE ONLY %s IN ACCESS SHARE MODE', v_part.parent_name);
                    UPDATE dupe_audit.leaf SET building = false WHERE id = v_part.leaf;
                    IF {is_constraint} AND NOT v_part.is_constraint THEN
                        EXECUTE pg_temp.dupe_audit_fill({t_attach}, pg_catalog.jsonb_build_object('table', v_part.name, 'name', pg_catalog.quote_ident(v_part.index_name), 'form', {form}));
                    END IF;
                    EXECUTE pg_temp.dupe_audit_fill({t_attach_part}, pg_catalog.jsonb_build_object('index', v_part.parent_index, 'part', v_part.index));
                    v_done := v_done + 1;
                EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                    v_blocked := v_blocked || v_part.name;
                    v_relids := v_relids || v_part.relid;
                END;
                COMMIT;
                EXIT WHEN NOT v_leaves AND pg_catalog.cardinality(v_blocked) > 0;
            END LOOP;
            EXIT WHEN pg_catalog.cardinality(v_blocked) = 0;
            IF v_done > 0 THEN
                v_until := pg_catalog.clock_timestamp() + interval {give_up_after};
            ELSIF pg_catalog.clock_timestamp() > v_until THEN
                RAISE EXCEPTION 'dupe-audit: partitions stayed locked for %: %. The others are adopted. Locks on % are held by %. Wait for them or end them, then execute this script again.',
                    interval {give_up_after}, pg_catalog.array_to_string(v_blocked[1:10], ', ') || CASE WHEN pg_catalog.cardinality(v_blocked) > 10 THEN ', ...' ELSE '' END, v_blocked[1],
                    coalesce((SELECT pg_catalog.string_agg(DISTINCT coalesce('pid ' || l.pid::pg_catalog.text, 'a prepared transaction, see pg_prepared_xacts'), ', ') FROM pg_catalog.pg_locks l
                     WHERE l.relation = v_relids[1] AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()), 'nobody');
            END IF;
            COMMIT;
            PERFORM pg_catalog.pg_sleep(v_pause * (0.5 + pg_catalog.random()));
            v_pause := least(v_pause * 1.6, 10);
        END LOOP;
    END LOOP;
    -- If the only missing leaf was detached, the server notices at the next attach; a finished attach may be repeated.
    IF NOT (SELECT i.indisvalid FROM pg_temp.dupe_audit_parts(v_run) AS p JOIN pg_catalog.pg_index i ON i.indexrelid = p.own WHERE p.level = 0) THEN
        FOR v_part IN SELECT p.* FROM pg_temp.dupe_audit_parts(v_run) AS p WHERE p.level = 1 ORDER BY p.relid LIMIT 1 LOOP
            PERFORM pg_catalog.set_config('lock_timeout', {lock_timeout}, true);
            EXECUTE pg_temp.dupe_audit_fill({t_attach_part}, pg_catalog.jsonb_build_object('index', v_part.parent_index, 'part', v_part.index));
        END LOOP;
    END IF;
    COMMIT;
END
$adopt$
