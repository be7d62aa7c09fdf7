-- Purpose: define the function that lists the foreign keys to the table, and creates the records of the children that follow their survivor.
-- Lock: none on application objects.
-- Again: yes; each record is created once.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_references(v_run bigint, v_relid pg_catalog.oid, v_on_reference pg_catalog.text,
    INOUT v_holes pg_catalog.jsonb, OUT v_fks pg_catalog.jsonb) LANGUAGE plpgsql AS $references$
DECLARE
    v_row record;
    v_fk pg_catalog.jsonb;
    v_number integer;
    v_record pg_catalog.text;
BEGIN
    IF v_on_reference = 'repoint' AND 'child-trigger' = ANY ({errors}) THEN
        FOR v_row IN {child_triggers} LOOP
            RAISE EXCEPTION 'dupe-audit: child-trigger: %. What to do: docs/reference/findings/child-trigger.md', v_row.subject;
        END LOOP;
    END IF;
    v_fks := '[]';
    v_holes := v_holes || pg_catalog.jsonb_build_object('e_children', '0', 'e_unreferenced_by_others', 'true', 'acting', false,
        'repoints', v_on_reference = 'repoint');
    FOR v_row IN {references} LOOP
        v_fk := pg_catalog.to_jsonb(v_row) || pg_catalog.jsonb_build_object(
            'columns', pg_catalog.format('%L::pg_catalog.int2[]', v_row.columns), 'identity', pg_catalog.format('%L::pg_catalog.int2[]', v_row.identity));
        IF v_on_reference = 'repoint' AND v_row.cannot IS NULL THEN
            EXECUTE pg_temp.dupe_audit_fill({t_enter_child}, v_fk || pg_catalog.jsonb_build_object('run', v_run,
                'moved_children', pg_temp.dupe_audit_fill({t_moved_children}, pg_catalog.jsonb_build_object('run', v_run)),
                'child', pg_catalog.quote_literal(v_row.child), 'constraint_name', pg_catalog.quote_literal(v_row.constraint_name))) INTO v_number;
            v_record := pg_catalog.format('dupe_audit.children_%s_%s', v_run, v_number);
            v_fk := v_fk || pg_catalog.jsonb_build_object('number', v_number, 'record', v_record);
            IF pg_catalog.to_regclass(v_record) IS NULL THEN
                EXECUTE pg_temp.dupe_audit_fill({t_create_record}, v_fk);
                EXECUTE pg_temp.dupe_audit_fill({t_finish_record}, v_fk);
                PERFORM pg_temp.dupe_audit_private(v_relid, v_record);
            END IF;
            v_holes := v_holes || pg_catalog.jsonb_build_object('e_children', pg_catalog.format(
                '%s + (SELECT pg_catalog.count(*) FROM %s c WHERE %s)', v_holes ->> 'e_children', v_row.source, v_row.condition));
        ELSE
            v_holes := v_holes || pg_catalog.jsonb_build_object('e_unreferenced_by_others', pg_catalog.format(
                '%s AND (SELECT true FROM %s c WHERE %s LIMIT 1) IS NULL', v_holes ->> 'e_unreferenced_by_others', v_row.source, v_row.condition));
        END IF;
        v_fks := v_fks || v_fk;
        IF v_row.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT') THEN
            v_holes := v_holes || pg_catalog.jsonb_build_object('acting', true);
        END IF;
    END LOOP;
END
$references$
