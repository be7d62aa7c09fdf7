-- Purpose: define what stops a pass before its first batch: divergent groups, rows that could not be inserted again, references.
-- Lock: ACCESS SHARE on the table, on those that it references and on those that reference it, until the transaction ends.
-- Again: yes, it only reads; it notes the children of each extra in the staged list.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_objections(v_run bigint, v_holes pg_catalog.jsonb, v_fks pg_catalog.jsonb) RETURNS pg_catalog.void LANGUAGE plpgsql AS $objections$
DECLARE
    v_relid pg_catalog.oid := v_holes ->> 'relid';
    v_rule dupe_audit.run;
    v_row record;
    v_names text[];
    v_subjects text[];
    v_counting pg_catalog.text;
    v_counts bigint[];
    v_fk pg_catalog.jsonb;
    v_children bigint;
    v_unlinked bigint;
    v_any_child boolean := false;
BEGIN
    SELECT r.* INTO v_rule FROM dupe_audit.run r WHERE r.id = v_run;
    IF v_rule.divergent = 'refuse' THEN
        EXECUTE pg_temp.dupe_audit_fill({t_divergent}, v_holes) INTO v_row;
        IF v_row.divergent_groups > 0 THEN
            EXECUTE 'SELECT ' || (v_holes ->> 'compared_names') INTO v_names;
            RAISE EXCEPTION 'dupe-audit: divergent-duplicates: rows of % (%)% carry different data under one key (groups: %, extras: %). They differ in % groups. The rule: keep %, divergent %, ignored columns: %. Nothing was archived in this pass',
                v_holes ->> 'table', pg_catalog.array_to_string(v_rule.key_columns, ', '), coalesce(' WHERE ' || v_rule.predicate, ''),
                v_row.divergent_groups, v_row.extras, {differing_columns}, v_rule.keep, v_rule.divergent,
                coalesce(nullif(pg_catalog.array_to_string(v_rule.ignored, ', '), ''), 'none');
        END IF;
    END IF;
    SELECT i.subjects, i.counts INTO v_subjects, v_counting FROM ({insertable}) AS i;
    IF v_counting IS NOT NULL THEN
        EXECUTE pg_temp.dupe_audit_fill({t_count_uninsertable}, v_holes || pg_catalog.jsonb_build_object(
            'counts', v_counting, 'extras', pg_temp.dupe_audit_fill({t_staged_to_archive}, v_holes), 'is_extra', v_holes ->> 'is_staged')) INTO v_counts;
        FOR v_place IN 1 .. pg_catalog.cardinality(v_counts) LOOP
            IF v_counts[v_place] > 0 THEN
                RAISE EXCEPTION 'dupe-audit: cannot-restore: extras of % could not be inserted again, so a downgrade could not restore them (extras: %): %. What to do: docs/reference/findings/cannot-restore.md',
                    v_holes ->> 'table', v_counts[v_place], v_subjects[v_place];
            END IF;
        END LOOP;
    END IF;
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
END
$objections$
