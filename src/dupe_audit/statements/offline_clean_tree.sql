-- Purpose: clean a run on a partitioned table: all leaves are ranked and judged, then those with extras are cleaned one by one.
-- Lock: as on any table, on one leaf after the other; no statement of a batch names the partitioned table.
-- Again: yes; it continues under the same run.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_clean(v_run bigint) LANGUAGE plpgsql AS $clean$
DECLARE
    v_rule dupe_audit.run;
    v_holes pg_catalog.jsonb;
    v_fks pg_catalog.jsonb;
    v_of_leaf pg_catalog.jsonb;
    v_root pg_catalog.oid;
    v_leaf pg_catalog.oid;
    v_dirty pg_catalog.oid[] := ARRAY[]::pg_catalog.oid[];
    v_probe record;
    v_extras bigint;
BEGIN
    SELECT p.v_holes, p.v_fks INTO v_holes, v_fks FROM pg_temp.dupe_audit_prepare(v_run) AS p;
    SELECT r.* INTO v_rule FROM dupe_audit.run r WHERE r.id = v_run;
    v_root := v_holes ->> 'root';
    PERFORM pg_temp.dupe_audit_same_tree(v_root, 'Nothing was archived in this pass.');
    {set_cleaning};
    COMMIT;
    FOREACH v_leaf IN ARRAY ARRAY(SELECT t.relid FROM pg_temp.dupe_audit_tree t WHERE t.root = v_root AND NOT t.is_tree ORDER BY t.relid) LOOP
        v_of_leaf := pg_temp.dupe_audit_of_leaf(v_run, v_holes, v_leaf);
        COMMIT;
        PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({sequential}) AS planner(name, value);
        PERFORM pg_temp.dupe_audit_measure(v_of_leaf, {expressions}, v_rule.predicate, 'key-too-wide' = ANY ({errors}), '');
        EXECUTE pg_temp.dupe_audit_fill({t_probe_leaf}, v_of_leaf || pg_catalog.jsonb_build_object(
            'rows', pg_catalog.format('(SELECT pg_catalog.count(*) FROM ONLY %s)', v_of_leaf ->> 'table'))) INTO v_probe;
        IF v_probe.extras > 0 THEN
            COMMIT;
            CALL pg_temp.dupe_audit_stage(v_run, v_fks, v_of_leaf, v_extras);
            v_dirty := v_dirty || v_leaf;
        ELSE
            EXECUTE pg_temp.dupe_audit_fill({t_record_leaf_ranking}, v_of_leaf || pg_catalog.jsonb_build_object('groups', 0, 'extras', 0, 'rows', v_probe.rows));
        END IF;
        COMMIT;
    END LOOP;
    EXECUTE pg_temp.dupe_audit_fill({t_sum_leaves}, pg_catalog.jsonb_build_object('run', v_run));
    COMMIT;
    FOREACH v_leaf IN ARRAY v_dirty LOOP
        v_of_leaf := pg_temp.dupe_audit_of_leaf(v_run, v_holes, v_leaf);
        COMMIT;
        RAISE NOTICE 'dupe-audit: run % cleans %', v_run, v_of_leaf ->> 'table';
        CALL pg_temp.dupe_audit_clean_leaf(v_run, v_of_leaf, v_fks);
        EXECUTE pg_temp.dupe_audit_fill({t_record_leaf_ranking}, v_of_leaf || pg_catalog.jsonb_build_object('groups', 0, 'extras', 0, 'rows', 'NULL'));
        COMMIT;
    END LOOP;
    EXECUTE pg_temp.dupe_audit_fill({t_sum_leaves}, pg_catalog.jsonb_build_object('run', v_run));
    COMMIT;
    PERFORM pg_temp.dupe_audit_same_tree(v_root, 'The extras of the others are archived.');
    {set_clean};
    COMMIT;
END
$clean$
