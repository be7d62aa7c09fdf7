-- Purpose: define the function that lists the statements that drop what unfinished builds of ours left on leaves; psql executes them.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_leaf_drops(v_run bigint) RETURNS TABLE (drops pg_catalog.text, records pg_catalog.text) LANGUAGE plpgsql AS $parts$
BEGIN
    RETURN QUERY
    SELECT pg_temp.dupe_audit_fill({t_drop_index}, pg_catalog.jsonb_build_object('index', p.index)),
           pg_temp.dupe_audit_fill({t_mark_leaf_building}, pg_catalog.jsonb_build_object('leaf', p.leaf, 'name', 'NULL', 'building', 'false'))
    FROM pg_temp.dupe_audit_parts(v_run) AS p
    CROSS JOIN LATERAL pg_temp.dupe_audit_part_state(p.relid, p.index_name, p.building) AS s
    WHERE NOT p.is_tree AND NOT p.attached AND NOT s.absent AND NOT s.valid;
END
$parts$
