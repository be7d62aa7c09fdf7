-- Purpose: report the state of the index to psql and the guard: absent, unfinished and ours, or as requested; stop if the name belongs to anything else.
-- Lock: none beyond catalogs; ACCESS SHARE on the table if the key has expressions or a predicate, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_state(OUT absent boolean, OUT leftover boolean, OUT enforced boolean, OUT qualified_name pg_catalog.text)
LANGUAGE plpgsql AS $state$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_row record;
    v_same boolean;
BEGIN
    -- Not in an SQL function, which plans the whole of it, and may execute parts of a view, before its first statement.
    PERFORM pg_temp.dupe_audit_trust(v_relid);
    absent := true;
    leftover := false;
    enforced := false;
    SELECT pg_catalog.format('%I.%I', n.nspname, {name}) INTO qualified_name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = v_relid;
    FOR v_row IN {index_state} LOOP
        absent := false;
        v_same := v_row.same_definition AND v_row.indrelid = v_relid;
        IF v_same AND NOT {is_plain} THEN
            v_same := pg_temp.dupe_audit_same(v_relid, {elements}, {predicate}, v_row.elements, v_row.predicate, v_row.collations);
        END IF;
        IF NOT v_same OR (v_row.constraint_name IS NOT NULL AND NOT ({is_constraint} AND v_row.same_constraint_form)) THEN
            RAISE EXCEPTION 'dupe-audit: wrong-definition: % already exists with another definition: %. Nothing is adopted or dropped because of its name alone. What to do: docs/reference/findings/wrong-definition.md',
                qualified_name, coalesce(v_row.definition, 'it is not an index') || coalesce(pg_catalog.format('; it belongs to constraint %s (%s)', v_row.constraint_name, v_row.constraint_form), '');
        END IF;
        IF NOT v_row.valid THEN
            leftover := pg_catalog.to_regclass('dupe_audit.run') IS NOT NULL;
            IF leftover THEN
                leftover := EXISTS (SELECT FROM dupe_audit.run r WHERE ({run_relation}) = v_relid AND r.constraint_name = {name} AND r.building);
            END IF;
            IF NOT leftover THEN
                RAISE EXCEPTION 'dupe-audit: invalid-index: index % is invalid, and the ledger has no record of a build of it. What to do: docs/reference/findings/invalid-index.md', qualified_name;
            END IF;
        END IF;
        enforced := v_row.valid AND CASE WHEN {is_constraint} THEN coalesce(v_row.constraint_name = {name}, false) ELSE true END;
    END LOOP;
END
$state$
