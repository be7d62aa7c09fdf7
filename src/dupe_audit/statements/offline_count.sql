-- Purpose: stop the script before its first change if the rows of a later table of the revision would be refused.
-- Lock: ACCESS SHARE on the table, on those that it references and on those that reference it, until the transaction ends.
-- Again: yes, it only reads.
DO $judge$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_holes pg_catalog.jsonb;
    v_pairs pg_catalog.text;
    v_row record;
    v_index record;
    v_extras bigint;
    v_subjects text[];
    v_counting pg_catalog.text;
    v_counts bigint[];
    v_children bigint;
    v_unlinked bigint;
    v_any_child boolean := false;
    v_countable boolean := {references_known};
    v_names text[];
BEGIN
    SELECT pg_catalog.to_jsonb(f) INTO v_holes FROM ({fragments}) AS f;
    IF {on_reference} = 'repoint' AND 'child-trigger' = ANY ({errors}) THEN
        FOR v_row IN {child_triggers} LOOP
            RAISE EXCEPTION 'dupe-audit: child-trigger: %; no directive has changed anything. What to do: docs/reference/findings/child-trigger.md', v_row.subject;
        END LOOP;
    END IF;
    PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({sequential}) AS planner(name, value);
    PERFORM pg_temp.dupe_audit_measure(v_holes, {expressions}, {predicate}, 'key-too-wide' = ANY ({errors}), '; no directive has changed anything');
    v_holes := v_holes || pg_catalog.jsonb_build_object('pattern', '0');
    EXECUTE pg_temp.dupe_audit_fill({t_count}, v_holes) INTO v_row;
    v_extras := v_row.affected - v_row.groups;
    IF v_extras = 0 THEN
        RETURN;
    END IF;
    IF NOT {archived} THEN
        RAISE EXCEPTION 'dupe-audit: duplicates: table % has extras (%), and no op.archive_duplicates() of this revision archives them; no directive has changed anything. What to do: docs/reference/findings/duplicates.md',
            v_holes ->> 'table', v_extras;
    END IF;
    IF {refuse_divergent} AND v_row.divergent_groups > 0 THEN
        EXECUTE 'SELECT ' || (v_holes ->> 'compared_names') INTO v_names;
        RAISE EXCEPTION 'dupe-audit: divergent-duplicates: rows of % % carry different data under one key (groups: %). Columns that differ, with the number of groups: %. The rule: %; no directive has changed anything. What to do: docs/reference/findings/divergent-duplicates.md',
            v_holes ->> 'table', {key_elements}, v_row.divergent_groups, {differing_columns}, {rule_text};
    END IF;
    v_pairs := pg_temp.dupe_audit_fill({t_ranked_pairs}, v_holes);
    SELECT i.subjects, i.counts INTO v_subjects, v_counting FROM ({insertable}) AS i;
    IF v_counting IS NOT NULL THEN
        EXECUTE pg_temp.dupe_audit_fill({t_count_uninsertable}, v_holes || pg_catalog.jsonb_build_object(
            'counts', v_counting, 'extras', pg_catalog.format('(%s)', v_pairs),
            'is_extra', pg_catalog.format('%s.ctid OPERATOR(pg_catalog.=) dupe_audit_extra.e_tid', v_holes ->> 'relation'))) INTO v_counts;
        FOR v_place IN 1 .. pg_catalog.cardinality(v_counts) LOOP
            IF v_counts[v_place] > 0 THEN
                RAISE EXCEPTION 'dupe-audit: cannot-restore: extras of % could not be inserted again, so a downgrade could not restore them (extras: %): %; no directive has changed anything. What to do: docs/reference/findings/cannot-restore.md',
                    v_holes ->> 'table', v_counts[v_place], v_subjects[v_place];
            END IF;
        END LOOP;
    END IF;
    -- An earlier cleanup of this revision can remove references, by cascades too.
    v_countable := v_countable AND NOT EXISTS (
        WITH RECURSIVE reached AS (
            SELECT v_relid AS relid
            UNION
            SELECT con.conrelid FROM reached JOIN pg_catalog.pg_constraint con ON con.confrelid = reached.relid AND con.contype = 'f'
        )
        SELECT FROM reached WHERE reached.relid <> v_relid AND reached.relid = ANY ({earlier}));
    IF NOT v_countable THEN
        RETURN;
    END IF;
    FOR v_row IN {references} LOOP
        EXECUTE pg_temp.dupe_audit_fill({t_count_references}, v_holes || pg_catalog.to_jsonb(v_row) || pg_catalog.jsonb_build_object('pairs', v_pairs))
            INTO v_children, v_unlinked;
        v_any_child := v_any_child OR v_children > 0;
        IF v_children > 0 AND ({on_reference} = 'refuse' OR v_row.cannot IS NOT NULL OR v_unlinked > 0) THEN
            RAISE EXCEPTION 'dupe-audit: %: rows of % (%, ON DELETE %) reference extras (rows: %)%; no directive has changed anything. What to do: docs/reference/findings/%.md',
                CASE {on_reference} WHEN 'refuse' THEN 'foreign-key-references' ELSE 'cannot-repoint' END,
                v_row.child, v_row.constraint_name, v_row.on_delete, v_children,
                CASE WHEN {on_reference} = 'refuse' THEN ''
                     ELSE ': ' || coalesce(v_row.cannot, 'the survivors of some have no value in the referenced columns') END,
                CASE {on_reference} WHEN 'refuse' THEN 'foreign-key-references' ELSE 'cannot-repoint' END;
        END IF;
    END LOOP;
    IF v_any_child THEN
        FOR v_row IN SELECT * FROM ({collisions}) AS entry LOOP
            FOR v_index IN EXECUTE v_row.query LOOP
                IF v_index.rows > 0 THEN
                    RAISE EXCEPTION 'dupe-audit: repoint-collision: rows of % would collide on % once they point at the survivors (rows: %); no directive has changed anything. What to do: docs/reference/findings/repoint-collision.md',
                        v_row.child, v_index.name, v_index.rows;
                END IF;
            END LOOP;
        END LOOP;
    END IF;
END
$judge$
