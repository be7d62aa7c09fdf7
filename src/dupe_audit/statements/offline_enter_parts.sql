-- Purpose: define the procedure that stops the script unless the key can be enforced on the tree as it is now, and enters its tables into the ledger.
-- Lock: ROW EXCLUSIVE on the ledger, until the transaction ends.
-- Again: yes.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_enter_parts(v_run bigint) LANGUAGE plpgsql AS $parts$
DECLARE
    v_root pg_catalog.oid := ({relid});
    v_row record;
BEGIN
    PERFORM pg_temp.dupe_audit_trust(v_root, v_run);
    PERFORM pg_catalog.set_config('dupe_audit.counted', '', false);
    PERFORM pg_temp.dupe_audit_same_tree(v_root, 'Nothing was built.');
    FOR v_row IN {blockers} LOOP
        IF v_row.id = ANY ({errors}) THEN
            RAISE EXCEPTION 'dupe-audit: %: % (table %); nothing was built. What to do: docs/reference/findings/%.md', v_row.id, v_row.subject, v_root::pg_catalog.regclass, v_row.id;
        END IF;
    END LOOP;
    FOR v_row IN SELECT p.*, s.valid, s.is_constraint FROM pg_temp.dupe_audit_parts(v_run) AS p
                 CROSS JOIN LATERAL pg_temp.dupe_audit_part_state(p.relid, p.index_name, p.building) AS s WHERE p.own IS NOT NULL LOOP
        IF {is_constraint} AND v_row.is_tree AND NOT v_row.is_constraint THEN
            RAISE EXCEPTION 'dupe-audit: wrong-definition: % is an index, and no index of a partitioned table can become a constraint; nothing was built. What to do: docs/reference/findings/wrong-definition.md', v_row.index;
        END IF;
    END LOOP;
    INSERT INTO dupe_audit.leaf AS l (run_id, relation, schema_name, table_name)
    SELECT v_run, t.relid::pg_catalog.regclass, t.schema, t.table FROM ({tree}) AS t WHERE t.level > 0
    ON CONFLICT (run_id, relation) DO UPDATE SET schema_name = excluded.schema_name, table_name = excluded.table_name;
END
$parts$
