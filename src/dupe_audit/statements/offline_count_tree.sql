-- Purpose: count the extras of each leaf without any index, and the rows that belong to another leaf; stop if there are any, otherwise note in the session that the tree was counted.
-- Lock: ACCESS SHARE on one leaf at a time, each in its own transaction.
-- Again: yes, it only reads.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_count_tree(v_run bigint) LANGUAGE plpgsql AS $count$
DECLARE
    v_root pg_catalog.oid := ({relid});
    v_holes pg_catalog.jsonb;
    v_of_leaf pg_catalog.jsonb;
    v_leaf pg_catalog.oid;
    v_row record;
BEGIN
    SELECT pg_catalog.to_jsonb(f) || pg_catalog.jsonb_build_object('root', v_root) INTO v_holes FROM ({fragments}) AS f;
    FOREACH v_leaf IN ARRAY ARRAY(SELECT t.relid FROM ({tree}) AS t WHERE NOT t.is_tree ORDER BY t.relid) LOOP
        COMMIT;
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = v_leaf AND NOT h.inhdetachpending);
        PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({sequential}) AS planner(name, value);
        v_of_leaf := pg_temp.dupe_audit_named(v_holes, v_leaf);
        EXECUTE pg_temp.dupe_audit_fill({t_count_leaf}, v_of_leaf || pg_catalog.jsonb_build_object('extras', pg_temp.dupe_audit_fill({t_count_extras}, v_of_leaf),
            'bounds', coalesce(pg_catalog.pg_get_partition_constraintdef(v_leaf), 'true'))) INTO v_row;
        IF v_row.extras > 0 THEN
            RAISE EXCEPTION 'dupe-audit: duplicates-remain: table % has extras (%), counted without any index; the version was not stamped. What to do: docs/reference/findings/duplicates-remain.md',
                v_of_leaf ->> 'table', v_row.extras;
        ELSIF v_row.misplaced > 0 THEN
            RAISE EXCEPTION 'dupe-audit: misplaced-rows: table % has rows that belong to another partition (rows: %); the version was not stamped. What to do: docs/reference/findings/misplaced-rows.md',
                v_of_leaf ->> 'table', v_row.misplaced;
        END IF;
    END LOOP;
    PERFORM pg_catalog.set_config('dupe_audit.counted', {counted}, false);
    COMMIT;
END
$count$
