-- Purpose: define the function that reports the state of the index on one table of a tree, and stops if its name belongs to anything else.
-- Lock: none beyond catalogs; ACCESS SHARE on the table if the key has expressions or a predicate, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_part_state(v_relid pg_catalog.oid, v_name pg_catalog.text, v_building boolean, OUT absent boolean, OUT valid boolean, OUT is_constraint boolean)
LANGUAGE plpgsql AS $state$
DECLARE
    v_row record;
    v_same boolean;
BEGIN
    absent := true;
    valid := false;
    is_constraint := false;
    FOR v_row IN {index_state} LOOP
        absent := false;
        v_same := v_row.same_definition AND v_row.indrelid = v_relid;
        IF v_same AND NOT {is_plain} THEN
            v_same := pg_temp.dupe_audit_same(v_relid, {elements}, {predicate}, v_row.elements, v_row.predicate, v_row.collations);
        END IF;
        IF NOT v_same OR (v_row.constraint_name IS NOT NULL AND NOT ({is_constraint} AND v_row.same_constraint_form)) THEN
            RAISE EXCEPTION 'dupe-audit: wrong-definition: % (table %) already exists with another definition: %. Nothing is adopted or dropped because of its name alone. What to do: docs/reference/findings/wrong-definition.md',
                v_name, v_relid::pg_catalog.regclass, coalesce(v_row.definition, 'it is not an index') || coalesce(pg_catalog.format('; it belongs to constraint %s (%s)', v_row.constraint_name, v_row.constraint_form), '');
        END IF;
        IF NOT v_row.valid AND NOT coalesce(v_building, false) THEN
            RAISE EXCEPTION 'dupe-audit: invalid-index: index % (table %) is invalid, and the ledger has no record of a build of it. What to do: docs/reference/findings/invalid-index.md', v_name, v_relid::pg_catalog.regclass;
        END IF;
        valid := v_row.valid;
        is_constraint := v_row.constraint_name IS NOT NULL;
    END LOOP;
END
$state$
