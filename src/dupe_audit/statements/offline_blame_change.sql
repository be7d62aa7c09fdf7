-- Purpose: in the handler of a batch of a script, report the constraint of the table that forbids a new value. Children fail with the same SQLSTATE, but the server then names their table.
-- Lock: none.
-- Again: yes, it only reads.
GET STACKED DIAGNOSTICS v_schema = SCHEMA_NAME, v_table = TABLE_NAME, v_constraint = CONSTRAINT_NAME;
IF pg_catalog.format('%I.%I', v_schema, v_table) = v_holes ->> 'table' AND NOT EXISTS (
        SELECT FROM pg_catalog.jsonb_array_elements(v_fks) AS f
        WHERE (f ->> 'child', f ->> 'constraint_name') = (v_holes ->> 'table', v_constraint)) THEN
    PERFORM pg_temp.dupe_audit_change_fails(v_holes, SQLSTATE, v_constraint, NULL);
END IF;
