-- Purpose: define the function that lists the statements that build the missing indexes of leaves, each after the one that records in the ledger that it is ours; psql executes them.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_leaf_builds(v_run bigint) RETURNS TABLE (records pg_catalog.text, builds pg_catalog.text) LANGUAGE plpgsql AS $parts$
BEGIN
    RETURN QUERY
    SELECT pg_temp.dupe_audit_fill({t_mark_leaf_building}, pg_catalog.jsonb_build_object('leaf', p.leaf, 'name', pg_catalog.quote_literal(p.index_name), 'building', 'true')),
           pg_temp.dupe_audit_fill({t_build_index}, pg_catalog.jsonb_build_object('name', pg_catalog.quote_ident(p.index_name), 'table', p.name,
               'key_columns', {key_columns}, 'include', {include}, 'nulls', {nulls}, 'options', '', 'where', {where}))
    FROM pg_temp.dupe_audit_parts(v_run) AS p
    CROSS JOIN LATERAL pg_temp.dupe_audit_part_state(p.relid, p.index_name, p.building) AS s
    WHERE NOT p.is_tree AND NOT p.attached AND s.absent;
END
$parts$
