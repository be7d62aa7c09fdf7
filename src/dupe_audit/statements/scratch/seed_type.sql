-- Purpose: describe a type, so that values of it can be generated.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT t.typname::pg_catalog.text AS name, n.nspname = 'pg_catalog' AS built_in, t.typtype::pg_catalog.text AS kind,
       t.typcategory::pg_catalog.text AS category, t.typnotnull AS not_null,
       pg_catalog.format_type(t.oid, {typmod}) AS formatted,
       CASE WHEN t.typcategory = 'A' THEN t.typelem::pg_catalog.int8 ELSE 0 END AS element,
       t.typbasetype::pg_catalog.int8 AS base, t.typtypmod AS base_typmod,
       (SELECT r.rngsubtype::pg_catalog.int8 FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid) AS subtype,
       (SELECT r.rngtypid::pg_catalog.int8 FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid) AS range,
       pg_catalog.format('%I.%I', n.nspname, t.typname) AS qualified,
       (SELECT pg_catalog.array_agg(e.enumlabel::pg_catalog.text ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) AS labels,
       (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.atttypid::pg_catalog.int8, a.atttypmod) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS attributes,
       (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
                   c.conname::pg_catalog.text, pg_catalog.pg_get_expr(c.conbin, 0::pg_catalog.oid)) ORDER BY c.oid)
        FROM pg_catalog.pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c') AS checks
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid = {type}::pg_catalog.oid
