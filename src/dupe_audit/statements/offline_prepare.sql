-- Purpose: define the function that judges a cleanup under the run lock, and creates the archive and the other tables of the run.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_prepare(v_run bigint, OUT v_holes pg_catalog.jsonb, OUT v_fks pg_catalog.jsonb) LANGUAGE plpgsql AS $prepare$
DECLARE
    v_relid pg_catalog.oid;
    v_rule dupe_audit.run;
    v_row record;
    v_types pg_catalog.oid[];
BEGIN
    PERFORM pg_temp.dupe_audit_trust(({relid}));
    SELECT r.* INTO v_rule FROM dupe_audit.run r WHERE r.id = v_run;
    v_relid := (SELECT ({run_relation}) FROM dupe_audit.run r WHERE r.id = v_run);
    PERFORM pg_temp.dupe_audit_trust(v_relid, v_run);
    IF v_rule.keep IS NULL THEN
        RAISE EXCEPTION 'dupe-audit: duplicates: the build on table % failed, and no op.archive_duplicates() was executed for this key. What to do: docs/reference/findings/duplicates.md', v_relid::pg_catalog.regclass;
    END IF;
    IF (coalesce(v_rule.exact, 'archive'), v_rule.divergent = 'amend', pg_catalog.cardinality(v_rule.merged_columns) > 0) IS DISTINCT FROM ({exact}, {amends_divergent}, {merges}) THEN
        RAISE EXCEPTION 'dupe-audit: the rule of run % is not the one of this part of the script; execute the script again from its beginning, with psql -v ON_ERROR_STOP=1', v_run;
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
{measure}    v_holes := v_holes || pg_catalog.jsonb_build_object('run', v_run, 'relid', v_relid, 't_to_rank', v_holes ->> 't_can_repeat', 'pattern', '0',
        'predicate', v_rule.predicate, 'texts', {expressions} || v_rule.order_expressions,
        'stage', pg_catalog.format('dupe_audit.stage_%s', v_run), 'archive', pg_catalog.format('dupe_audit.archive_%s', v_run));{changes}
    IF pg_catalog.to_regclass(v_holes ->> 'archive') IS NULL THEN
        EXECUTE pg_temp.dupe_audit_fill({t_create_archive}, {archive_holes});
        EXECUTE pg_temp.dupe_audit_fill({t_finish_archive}, v_holes);
        PERFORM pg_temp.dupe_audit_private(v_relid, v_holes ->> 'archive');
    END IF;
    -- A run that began before a column was added continues with it, as online.
    PERFORM pg_temp.dupe_audit_adopt(v_relid, v_holes ->> 'archive');{images}
    EXECUTE pg_temp.dupe_audit_fill({t_restore_fragments}, pg_catalog.jsonb_build_object(
        'relid', v_relid, 'archive', pg_catalog.quote_literal(v_holes ->> 'archive'), 'run', v_run)) INTO v_row;
    IF v_row.moved IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: columns % of table % were renamed since run % began; rename them back, or restore or purge that run first', v_row.moved, v_relid::pg_catalog.regclass, v_run;
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_record_columns}, pg_catalog.jsonb_build_object('relid', v_relid, 'run', v_run));{references}
END
$prepare$
