-- Purpose: read from the catalog what a unique constraint, or a unique index that belongs to no constraint, compares.
-- Lock: ACCESS SHARE on the table for a moment, and only if the index has expressions.
-- Again: yes, it only reads.
SELECT keys.names, keys.expressions, keys.collations, keys.included, keys.usual_equality,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
       coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false)
           AS nulls_not_distinct,
       con.oid IS NOT NULL AS is_constraint,
       coalesce(con.condeferrable, false) AS deferrable, coalesce(con.condeferred, false) AS deferred
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid AND con.conrelid = i.indrelid AND con.contype IN ('u', 'p', 'x')
CROSS JOIN LATERAL (
    -- Each element has a name or an expression; a column with a collation other than its own is an expression.
    SELECT pg_catalog.array_agg(CASE WHEN k.coll = a.attcollation THEN a.attname::pg_catalog.text END ORDER BY k.ord)
               FILTER (WHERE k.ord <= i.indnkeyatts) AS names,
           pg_catalog.array_agg(CASE WHEN k.coll = a.attcollation THEN NULL
                                     WHEN a.attnum IS NOT NULL THEN pg_catalog.quote_ident(a.attname)
                                     ELSE pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::pg_catalog.int4, false) END ORDER BY k.ord)
               FILTER (WHERE k.ord <= i.indnkeyatts) AS expressions,
           -- As pg_collation_for() writes them.
           pg_catalog.array_agg(CASE WHEN pg_catalog.pg_collation_is_visible(co.oid) THEN pg_catalog.quote_ident(co.collname)
                                     WHEN co.oid IS NOT NULL THEN pg_catalog.format('%I.%I', co_ns.nspname, co.collname) END ORDER BY k.ord)
               FILTER (WHERE k.ord <= i.indnkeyatts) AS collations,
           coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord) FILTER (WHERE k.ord > i.indnkeyatts),
                    ARRAY[]::pg_catalog.text[]) AS included,
           pg_catalog.bool_and(({usual_class})) FILTER (WHERE k.ord <= i.indnkeyatts) AS usual_equality
    FROM unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[], i.indcollation::pg_catalog.oid[])
        WITH ORDINALITY AS k(attnum, opclass, coll, ord)
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum <> 0
    LEFT JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
    LEFT JOIN pg_catalog.pg_attribute own ON own.attrelid = i.indexrelid AND own.attnum = k.ord
    LEFT JOIN pg_catalog.pg_collation co ON co.oid = k.coll
    LEFT JOIN pg_catalog.pg_namespace co_ns ON co_ns.oid = co.collnamespace
) AS keys
WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisunique
  AND CASE WHEN con.oid IS NULL THEN ic.relname = {name} ELSE con.conname = {name} AND con.contype = 'u' END
