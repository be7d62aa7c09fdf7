-- Purpose: define the function that stops a pass if tried rows violate what their copy of the table lacks: foreign keys, bounds, unique indexes.
-- Lock: ACCESS SHARE on the table and on those that it references, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_try_constraints(v_run bigint, v_amends pg_catalog.bool, v_holes pg_catalog.jsonb) RETURNS pg_catalog.void LANGUAGE plpgsql AS $constraints$
DECLARE
    v_relid pg_catalog.oid := v_holes ->> 'relid';
    v_rule dupe_audit.run;
    v_index record;
    v_subject pg_catalog.text;
    v_count bigint;
    v_stays pg_catalog.text := 'true';
BEGIN
    SELECT r.* INTO v_rule FROM dupe_audit.run r WHERE r.id = v_run;
    SELECT v.v_subject, v.v_count INTO v_subject, v_count
    FROM pg_temp.dupe_audit_violated(v_run, v_holes || pg_catalog.jsonb_build_object('table', 'pg_temp.dupe_audit_trial'), '(SELECT 1)', 'true') AS v;
    IF v_subject IS NULL THEN
        PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({trying}) AS planner(name, value);
        PERFORM pg_catalog.set_config(name, 'on', true) FROM pg_catalog.unnest(ARRAY['enable_seqscan', 'enable_mergejoin']) AS name;
        IF NOT v_amends THEN
            -- A survivor can take over the value of an extra, because the extra leaves first.
            v_stays := pg_catalog.format('NOT EXISTS (SELECT FROM %s dupe_audit_extra WHERE %s)',
                pg_temp.dupe_audit_fill({t_staged_to_archive}, v_holes), v_holes ->> 'is_staged');
        END IF;
        FOR v_index IN SELECT * FROM ({touched_indexes}) AS touched LOOP
            EXECUTE pg_temp.dupe_audit_fill({t_count_taken}, v_holes || pg_catalog.to_jsonb(v_index) || pg_catalog.jsonb_build_object(
                'changed_row', CASE WHEN v_amends THEN 'e' ELSE 'v' END, 'stays', v_stays,
                'is_changed_row', v_holes ->> CASE WHEN v_amends THEN 'e_is_extra' ELSE 'v_is_survivor' END)) INTO v_count;
            IF v_count > 0 THEN
                v_subject := 'unique index ' || v_index.name;
                EXIT;
            END IF;
        END LOOP;
    END IF;
    IF v_subject IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: change-fails: rows of % cannot be changed as set_ or merge says: the new row violates % (rows: %); nothing was archived or changed in this pass. What to do: docs/reference/findings/change-fails.md',
            v_holes ->> 'table', v_subject, v_count;
    END IF;
END
$constraints$
