-- Purpose: read the elements, operators and predicate of every unique index of the table and of its partitions.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE rel AS (
    SELECT {relid}::pg_catalog.oid AS oid
    UNION ALL
    -- Partitions too, because a violation names the partition's index.
    SELECT h.inhrelid FROM pg_catalog.pg_inherits h JOIN rel ON rel.oid = h.inhparent
)
SELECT ic.relname::pg_catalog.text AS name, rel.oid = {relid}::pg_catalog.oid AS own, i.indisready AS ready,
       coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false) AS nulls_not_distinct,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
       pg_catalog.pg_get_indexdef(i.indexrelid) AS definition,
       part.columns, part.expressions, part.collations, part.operators
FROM rel
JOIN pg_catalog.pg_index i ON i.indrelid = rel.oid AND i.indisunique
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord) AS columns,
           pg_catalog.array_agg(CASE WHEN k.attnum = 0::pg_catalog.int2 THEN pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::pg_catalog.int4, false) END
                                ORDER BY k.ord) AS expressions,
           pg_catalog.array_agg(CASE WHEN co.oid IS NULL THEN '' ELSE pg_catalog.format(' COLLATE %I.%I', co_ns.nspname, co.collname) END
                                ORDER BY k.ord) AS collations,
           pg_catalog.array_agg(CASE WHEN op.oid IS NOT NULL THEN pg_catalog.format('OPERATOR(%I.%s)', op_ns.nspname, op.oprname) END
                                ORDER BY k.ord) AS operators
    FROM unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[], i.indcollation::pg_catalog.oid[])
        WITH ORDINALITY AS k(attnum, opclass, coll, ord)
    JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    LEFT JOIN pg_catalog.pg_collation co ON co.oid = k.coll
    LEFT JOIN pg_catalog.pg_namespace co_ns ON co_ns.oid = co.collnamespace
    LEFT JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
    LEFT JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
    LEFT JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace
    WHERE k.ord <= i.indnkeyatts
) AS part
ORDER BY i.indexrelid
