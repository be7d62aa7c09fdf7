-- Purpose: define the function that moves the locked extras of a batch into the archive, after their children follow the survivors.
-- Lock: ROW EXCLUSIVE on the table, its children and the archive, until the batch commits; the rows are locked already.
-- Again: no; once per batch, after lock_rows, in the same READ COMMITTED transaction.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_move(v_run bigint, v_batch bigint, v_holes pg_catalog.jsonb, v_fks pg_catalog.jsonb,
    v_final pg_catalog.bool, OUT v_archived bigint, OUT v_merged bigint) LANGUAGE plpgsql AS $move$
DECLARE
    v_relid pg_catalog.oid := v_holes ->> 'relid';
    v_acting boolean := v_holes ->> 'acting';
    v_repoints boolean := v_holes ->> 'repoints';
    v_fk pg_catalog.jsonb;
    v_row record;
    v_result record;
    v_leaving bigint;
    v_before bigint;
    v_stray boolean;
    v_texts pg_catalog.text[] := ARRAY(SELECT t.text FROM pg_catalog.jsonb_array_elements_text(v_holes -> 'texts') WITH ORDINALITY AS t(text, ord) ORDER BY t.ord);
BEGIN
    v_merged := 0;
    IF v_acting AND NOT ({counts_tracked}) THEN
        PERFORM pg_catalog.set_config('track_counts', 'on', true);
    END IF;
    IF v_repoints THEN
        FOR v_fk IN SELECT f FROM pg_catalog.jsonb_array_elements(v_fks) AS f WHERE f ->> 'cannot' IS NULL
            ORDER BY (f ->> 'number')::pg_catalog.int4 LOOP
            EXECUTE pg_temp.dupe_audit_fill({t_lock_children}, v_holes || v_fk);
        END LOOP;
        BEGIN
            EXECUTE pg_temp.dupe_audit_fill({t_judge_extras}, v_holes) INTO v_leaving;
        EXCEPTION WHEN OTHERS OR assert_failure THEN
            PERFORM pg_temp.dupe_audit_failing(v_holes, v_texts, v_holes ->> 'predicate', SQLSTATE, '; the batch was rolled back');
            RAISE;
        END;
        FOR v_fk IN SELECT f FROM pg_catalog.jsonb_array_elements(v_fks) AS f WHERE f ->> 'cannot' IS NULL
            ORDER BY (f ->> 'number')::pg_catalog.int4 LOOP
            EXECUTE pg_temp.dupe_audit_fill({t_repoint_children}, v_holes || v_fk || pg_catalog.jsonb_build_object('batch', v_batch)) INTO v_row;
            IF v_row.found <> v_row.pointed OR v_row.pointed <> v_row.noted THEN
                RAISE EXCEPTION 'dupe-audit: child-trigger: rows of % to point at a survivor: %, pointed: %; the batch was rolled back. A trigger on that table suppresses updates. What to do: docs/reference/findings/child-trigger.md',
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
        PERFORM pg_temp.dupe_audit_failing(v_holes, v_texts, v_holes ->> 'predicate', SQLSTATE, '; the batch was rolled back');
        RAISE;
    END;
    IF v_result.columns_digest IS DISTINCT FROM v_holes ->> 'columns_digest' THEN
        RAISE EXCEPTION 'dupe-audit: the columns of % or a foreign key to it changed during the cleanup, or another table took its name; the batch was rolled back. Execute this script again.',
            v_holes ->> 'table';
    END IF;
    IF v_leaving <> v_result.judged THEN
        EXECUTE pg_temp.dupe_audit_fill({t_stray_children}, v_holes) INTO v_stray;
        IF v_stray AND NOT (v_final AND EXISTS ({child_triggers})) THEN
            RAISE EXCEPTION 'dupe-audit: a child was added without a lock on its parent' USING ERRCODE = 'serialization_failure';
        END IF;
        RAISE EXCEPTION 'dupe-audit: extras to remove after their children moved: %, but removable: %; the batch was rolled back. A trigger changes rows in between: see delete-trigger and child-trigger in docs/reference/findings.',
            v_leaving, v_result.judged;
    END IF;
    IF v_result.judged <> v_result.deleted OR v_result.deleted <> v_result.archived THEN
        RAISE EXCEPTION 'dupe-audit: delete-trigger: extras checked: %, deleted: %, archived: %; the batch was rolled back. A trigger on % suppresses deletes. What to do: docs/reference/findings/delete-trigger.md',
            v_result.judged, v_result.deleted, v_result.archived, v_holes ->> 'table';
    END IF;
    IF v_acting THEN
        SELECT c.changed - CASE WHEN c.itself THEN v_result.deleted ELSE 0 END AS changed INTO v_row FROM ({changed_children}) AS c;
        IF v_row.changed <> v_before THEN
            -- Once, it can have been a child that arrived; in a later pass such a child is a reference, and is counted.
            IF v_final AND ({delete_triggers}) IS NOT NULL THEN
                RAISE EXCEPTION 'dupe-audit: delete-trigger: the delete of one extra of % also changed a table that references it, most likely by trigger %; the batch was rolled back. What to do: docs/reference/findings/delete-trigger.md',
                    v_holes ->> 'table', ({delete_triggers});
            END IF;
            RAISE EXCEPTION 'dupe-audit: a child was added without a lock on its parent' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;
    v_archived := v_result.archived;{merge}
END
$move$
