-- Purpose: define the function that enters a leaf into the ledger, and returns what fills the statements about it; stop if it is no longer a partition.
-- Lock: ROW EXCLUSIVE on dupe_audit.leaf, until the transaction ends; none beyond catalogs on the leaf.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_of_leaf(v_run bigint, v_holes pg_catalog.jsonb, v_leaf pg_catalog.oid) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $leaf$
DECLARE
    v_filled pg_catalog.jsonb;
    v_row record;
    v_digest pg_catalog.text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_temp.dupe_audit_tree t JOIN pg_catalog.pg_inherits h ON h.inhrelid = t.relid AND h.inhparent = t.parent AND NOT h.inhdetachpending
                   WHERE t.relid = v_leaf) THEN
        RAISE EXCEPTION 'dupe-audit: % is no longer a partition; what was archived stays archived. Execute this script again: it continues with the partitions that exist then.',
            (SELECT t.name FROM pg_temp.dupe_audit_tree t WHERE t.relid = v_leaf);
    END IF;
    v_filled := pg_temp.dupe_audit_named(v_holes, v_leaf);
    SELECT pg_catalog.quote_literal(n.nspname) AS schema_name, pg_catalog.quote_literal(c.relname) AS table_name INTO v_row
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = v_leaf;
    EXECUTE pg_temp.dupe_audit_fill({t_enter_leaf}, pg_catalog.jsonb_build_object('run', v_run, 'relid', v_leaf,
        'schema_name', v_row.schema_name, 'table_name', v_row.table_name)) INTO v_row;
    EXECUTE pg_temp.dupe_audit_fill({t_columns_digest}, v_filled) INTO v_digest;
    RETURN v_filled || pg_catalog.jsonb_build_object('leaf', v_row.id, 'columns_digest', v_digest);
END
$leaf$
