-- Purpose: list the other unique indexes whose columns are all in the key: equivalent, stricter or invalid; and what they differ in.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT ic.relname::pg_catalog.text AS name, con.conname::pg_catalog.text AS constraint_name, i.indisprimary AS is_primary,
       i.indisvalid AS valid, i.indimmediate AS immediate, coalesce(con.condeferred, false) AS deferred,
       keys.in_order, keys.included, keys.standard,
       keys.names OPERATOR(pg_catalog.=) request.key_sorted AND nulls.not_distinct = {nulls_not_distinct} AS same_key,
       -- Stricter than the key: it has fewer columns, or treats NULLs as equal.
       keys.names OPERATOR(pg_catalog.<@) request.key_sorted AND nulls.not_distinct >= {nulls_not_distinct} AS stricter
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = ic.oid AND con.conrelid = i.indrelid AND con.contype IN ('u', 'p')
CROSS JOIN (SELECT pg_catalog.array_agg(k ORDER BY k COLLATE "C") AS key_sorted
            FROM pg_catalog.unnest({key}) AS k) AS request
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attname::pg_catalog.text COLLATE "C")
               FILTER (WHERE k.ord <= i.indnkeyatts) AS names,
           pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord) FILTER (WHERE k.ord <= i.indnkeyatts) AS in_order,
           coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord)
                    FILTER (WHERE k.ord > i.indnkeyatts), ARRAY[]::pg_catalog.text[]) AS included,
           -- Only an index that sorts as its columns do by default can become a constraint.
           pg_catalog.bool_and(k.ord > i.indnkeyatts
               OR (judged.usual_class AND k.flags = 0 AND k.coll = a.attcollation)) AS standard,
           -- Another operator class or collation can mean another equality, and then another key.
           pg_catalog.bool_and(k.ord > i.indnkeyatts OR (
               (k.coll = a.attcollation OR (coalesce(ci.collisdeterministic, true) AND coalesce(ca.collisdeterministic, true)))
               AND (judged.usual_class OR EXISTS (
                   SELECT FROM pg_catalog.pg_amop equal
                   JOIN pg_catalog.pg_opclass dc ON dc.opcmethod = oc.opcmethod AND ({usual_class_dc})
                   JOIN pg_catalog.pg_amop usual ON usual.amopfamily = dc.opcfamily AND usual.amopstrategy = 3
                       AND usual.amoplefttype = dc.opcintype AND usual.amoprighttype = dc.opcintype
                   WHERE equal.amopfamily = oc.opcfamily AND equal.amopstrategy = 3 AND equal.amoplefttype = oc.opcintype
                     AND equal.amoprighttype = oc.opcintype AND equal.amopopr = usual.amopopr)))) AS same_equality
    FROM unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[],
                i.indcollation::pg_catalog.oid[], i.indoption::pg_catalog.int2[])
        WITH ORDINALITY AS k(attnum, opclass, coll, flags, ord)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    LEFT JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
    CROSS JOIN LATERAL ({usual_class}) AS judged
    LEFT JOIN pg_catalog.pg_collation ci ON ci.oid = k.coll
    LEFT JOIN pg_catalog.pg_collation ca ON ca.oid = a.attcollation
) AS keys
CROSS JOIN LATERAL (
    -- Before PostgreSQL 15 there was no such column, and NULLs were always distinct.
    SELECT coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false) AS not_distinct
) AS nulls
WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
  AND ({constraint_name}::pg_catalog.text IS NULL OR ic.relname <> {constraint_name})
  AND keys.names OPERATOR(pg_catalog.<@) request.key_sorted AND keys.same_equality
ORDER BY ic.relname
