-- Purpose: define the procedure that ranks the table for one pass, lists the extras, and stops unless all of them may be handled.
-- Lock: ACCESS SHARE on the table, until the transaction ends; the ranking is its own transaction.
-- Again: yes; each time it drops the list and creates it again.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_stage(v_run bigint, v_fks pg_catalog.jsonb, INOUT v_holes pg_catalog.jsonb, INOUT v_extras bigint) LANGUAGE plpgsql AS $stage$
DECLARE
    v_groups bigint;
    v_texts pg_catalog.text[] := ARRAY(SELECT t.text FROM pg_catalog.jsonb_array_elements_text(v_holes -> 'texts') WITH ORDINALITY AS t(text, ord) ORDER BY t.ord);
BEGIN
    PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({sequential}) AS planner(name, value);
    EXECUTE pg_catalog.format('DROP TABLE IF EXISTS %s', v_holes ->> 'stage');
    BEGIN
        EXECUTE pg_temp.dupe_audit_fill({t_stage}, v_holes || pg_catalog.jsonb_build_object('kind', 'UNLOGGED'));
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        -- The server's message can contain a value of a row that was written since the check.
        PERFORM pg_temp.dupe_audit_failing(v_holes, v_texts, v_holes ->> 'predicate', SQLSTATE, '');
        RAISE;
    END;
    EXECUTE pg_catalog.format('ALTER TABLE %s ADD PRIMARY KEY (n), ADD COLUMN children bigint DEFAULT 0', v_holes ->> 'stage');
    PERFORM pg_temp.dupe_audit_private((v_holes ->> 'relid')::pg_catalog.oid, v_holes ->> 'stage');
    EXECUTE pg_catalog.format('ANALYZE %s', v_holes ->> 'stage');
    EXECUTE pg_catalog.format('SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE place = 2) FROM %s', v_holes ->> 'stage')
        INTO v_extras, v_groups;
    EXECUTE pg_temp.dupe_audit_fill({recorded}, v_holes || pg_catalog.jsonb_build_object('groups', v_groups, 'extras', v_extras,
        'rows', pg_catalog.format('(SELECT pg_catalog.count(*) FROM ONLY %s)', v_holes ->> 'table')));
    COMMIT;
    IF v_extras > 0 THEN
        PERFORM pg_catalog.set_config(planner.name, planner.value, true) FROM ({batching}) AS planner(name, value);{preparations}
        IF {archives} THEN
            BEGIN
                PERFORM pg_temp.dupe_audit_objections(v_run, v_holes, v_fks);
            EXCEPTION WHEN OTHERS OR assert_failure THEN
                -- The server's message about a key can contain a value of a row.
                IF NOT pg_catalog.starts_with(SQLERRM, 'dupe-audit: ') THEN
                    PERFORM pg_temp.dupe_audit_failing(v_holes, v_texts, v_holes ->> 'predicate', SQLSTATE, '');
                END IF;
                RAISE;
            END;
        END IF;{trials}
    END IF;
END
$stage$
