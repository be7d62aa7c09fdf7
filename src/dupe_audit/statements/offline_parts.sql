-- Purpose: define the function that lists the tables of a tree, each with the index that it has for the key or will have, and whether that is attached.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_parts(v_run bigint) RETURNS TABLE (relid pg_catalog.oid, level integer, is_tree boolean, name pg_catalog.text,
    leaf bigint, building boolean, own pg_catalog.oid, index_name pg_catalog.text, index pg_catalog.text, attached boolean, parent pg_catalog.oid, parent_name pg_catalog.text, parent_index pg_catalog.text)
LANGUAGE plpgsql AS $parts$
#variable_conflict use_column
DECLARE
    v_root pg_catalog.oid := ({relid});
BEGIN
    RETURN QUERY
    WITH RECURSIVE named AS (
        SELECT t.relid, t.parent, t.level, t.is_tree, t.name, t.schema, l.id AS leaf,
               CASE WHEN t.level = 0 THEN (SELECT r.building FROM dupe_audit.run r WHERE r.id = v_run) ELSE t.is_tree OR coalesce(l.building, false) END AS building,
               CASE WHEN t.level = 0 THEN {name}
                    ELSE coalesce(l.index_name, (
                        -- An identifier has 63 bytes at most.
                        SELECT pg_catalog.left({name}, u.kept) || suffix.text
                        FROM pg_catalog.concat('_', t.relid) AS suffix(text)
                        CROSS JOIN pg_catalog.generate_series(pg_catalog.length({name}), 0, -1) AS u(kept)
                        WHERE pg_catalog.octet_length(pg_catalog.left({name}, u.kept)) + pg_catalog.length(suffix.text) <= {longest_name}
                        ORDER BY u.kept DESC LIMIT 1)) END AS wanted
        FROM ({tree}) AS t
        LEFT JOIN dupe_audit.leaf l ON l.run_id = v_run AND l.relation::pg_catalog.oid = t.relid
    ), placed AS (
        SELECT named.*, ic.oid AS by_name
        FROM named
        LEFT JOIN (pg_catalog.pg_class ic JOIN pg_catalog.pg_namespace n ON n.oid = ic.relnamespace) ON ic.relname = named.wanted AND n.nspname = named.schema
    ), part AS (
        SELECT placed.*, placed.by_name AS own, false AS attached FROM placed WHERE placed.level = 0
        UNION ALL
        -- If a table was created below a level with the constraint, PostgreSQL has chosen the name of its part.
        SELECT below.*, coalesce(child.oid, below.by_name), child.oid IS NOT NULL
        FROM part
        JOIN placed below ON below.parent = part.relid
        LEFT JOIN LATERAL (
            SELECT i.indexrelid AS oid FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_index i ON i.indexrelid = h.inhrelid
            WHERE h.inhparent = part.own AND i.indrelid = below.relid) AS child ON true
    ), shown AS (
        SELECT part.*, coalesce(ic.relname::pg_catalog.text, part.wanted) AS index_name
        FROM part LEFT JOIN pg_catalog.pg_class ic ON ic.oid = part.own
    )
    SELECT shown.relid, shown.level, shown.is_tree, shown.name, shown.leaf, shown.building, shown.own, shown.index_name,
           pg_catalog.format('%I.%I', shown.schema, shown.index_name), shown.attached, up.relid, up.name, CASE WHEN up.relid IS NOT NULL THEN pg_catalog.format('%I.%I', up.schema, up.index_name) END
    FROM shown LEFT JOIN shown up ON up.relid = shown.parent
    ORDER BY shown.level, shown.relid;
END
$parts$
