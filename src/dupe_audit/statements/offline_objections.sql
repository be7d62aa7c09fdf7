-- Purpose: define the function that stops a pass before its first batch: divergent groups, and references.
-- Lock: ACCESS SHARE on the table and on those that reference it, until the transaction ends.
-- Again: yes, it only reads; it notes the children of each extra in the staged list.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_objections(v_run bigint, v_holes pg_catalog.jsonb, v_fks pg_catalog.jsonb) RETURNS pg_catalog.void LANGUAGE plpgsql AS $objections$
DECLARE
    v_relid pg_catalog.oid := v_holes ->> 'relid';
    v_rule dupe_audit.run;
    v_row record;
    v_index record;
    v_names text[];
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
            RAISE EXCEPTION 'dupe-audit: divergent-duplicates: rows of % (%)% carry different data under one key (groups: %, extras: %). Columns that differ, with the number of groups: %. The rule: keep %, divergent %, ignored columns: %. Nothing was archived in this pass. What to do: docs/reference/findings/divergent-duplicates.md',
                v_holes ->> 'table', pg_catalog.array_to_string(v_rule.key_columns, ', '), coalesce(' WHERE ' || v_rule.predicate, ''),
                v_row.divergent_groups, v_row.extras, {differing_columns}, v_rule.keep, v_rule.divergent,
                coalesce(nullif(pg_catalog.array_to_string(v_rule.ignored, ', '), ''), 'none');
        END IF;
    END IF;
    FOR v_fk IN SELECT pg_catalog.jsonb_array_elements(v_fks) LOOP
        EXECUTE pg_temp.dupe_audit_fill({t_stage_children}, v_holes || v_fk) INTO v_children, v_unlinked;
        v_any_child := v_any_child OR v_children > 0;
        IF v_children > 0 AND (v_rule.on_reference = 'refuse' OR v_fk ->> 'cannot' IS NOT NULL OR v_unlinked > 0) THEN
            RAISE EXCEPTION 'dupe-audit: %: rows of % (%, ON DELETE %) reference extras (rows: %)%',
                CASE v_rule.on_reference WHEN 'refuse' THEN 'foreign-key-references' ELSE 'cannot-repoint' END,
                v_fk ->> 'child', v_fk ->> 'constraint_name', v_fk ->> 'on_delete', v_children,
                CASE WHEN v_rule.on_reference = 'refuse' THEN '. What to do: docs/reference/findings/foreign-key-references.md'
                     ELSE ': ' || coalesce(v_fk ->> 'cannot', 'the survivors of some have no value in the referenced columns')
                          || '. What to do: docs/reference/findings/cannot-repoint.md' END;
        END IF;
    END LOOP;
    IF v_any_child THEN
        FOR v_row IN SELECT * FROM ({collisions}) AS entry LOOP
            FOR v_index IN EXECUTE v_row.query LOOP
                IF v_index.rows > 0 THEN
                    RAISE EXCEPTION 'dupe-audit: repoint-collision: rows of % would collide on % once they point at the survivors (rows: %). What to do: docs/reference/findings/repoint-collision.md',
                        v_row.child, v_index.name, v_index.rows;
                END IF;
            END LOOP;
        END LOOP;
    END IF;
END
$objections$
