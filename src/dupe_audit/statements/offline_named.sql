-- Purpose: define the function that fills the statements about one leaf of a tree: its name replaces the placeholders.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_named(v_holes pg_catalog.jsonb, v_leaf pg_catalog.oid) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $leaf$
DECLARE
    v_name pg_catalog.text;
    v_alias pg_catalog.text;
BEGIN
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(c.relname) INTO v_name, v_alias
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = v_leaf;
    RETURN (
        SELECT pg_catalog.jsonb_object_agg(h.key, CASE WHEN pg_catalog.jsonb_typeof(h.value) = 'string'
            THEN pg_catalog.to_jsonb(pg_catalog.replace(pg_catalog.replace(h.value #>> ARRAY[]::pg_catalog.text[], {leaf_name}, v_name), {leaf_alias}, v_alias))
            ELSE h.value END)
        FROM pg_catalog.jsonb_each(v_holes) AS h)
        || pg_catalog.jsonb_build_object('relid', v_leaf, 'table_name', pg_catalog.quote_literal(v_name),
            'and_leaf', ', dupe_audit_leaf', 'and_its_leaf', pg_catalog.format(', %L', v_name));
END
$leaf$
