-- Purpose: judge the index of that name by its definition, validity and liveness; and find who builds on the table.
-- Lock: none beyond catalogs.
-- Again: yes, it reads.
SELECT ic.oid, ic.relname::pg_catalog.text AS name, ic.relkind::pg_catalog.text AS relkind, i.indrelid,
       i.indisvalid AS valid, i.indisready AS ready, pg_catalog.pg_get_indexdef(ic.oid) AS definition,
       pg_catalog.pg_relation_size(ic.oid) AS bytes,
       coalesce(i.indisunique AND am.amname = 'btree' AND i.indpred IS NULL AND i.indexprs IS NULL
           -- The column came with PostgreSQL 15; before it, NULLs were always distinct.
           AND {nulls_not_distinct} = coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool, false)
           AND keys.names = {key} AND keys.included = {include} AND keys.standard, false) AS same_definition,
       con.conname::pg_catalog.text AS constraint_name,
       coalesce(con.contype = 'u' AND con.condeferrable = {deferrable} AND con.condeferred = {deferred}, false)
           AS same_constraint_form
FROM pg_catalog.pg_class ic
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = ic.oid
LEFT JOIN pg_catalog.pg_am am ON am.oid = ic.relam
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = ic.oid AND con.contype IN ('u', 'p', 'x')
LEFT JOIN LATERAL (
    SELECT coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord)
                    FILTER (WHERE k.ord <= i.indnkeyatts), ARRAY[]::pg_catalog.text[]) AS names,
           coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord)
                    FILTER (WHERE k.ord > i.indnkeyatts), ARRAY[]::pg_catalog.text[]) AS included,
           coalesce(pg_catalog.bool_and(k.ord > i.indnkeyatts
               OR (oc.opcdefault AND k.flags = 0 AND k.coll = a.attcollation)), false) AS standard
    FROM unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[],
                           i.indcollation::pg_catalog.oid[], i.indoption::pg_catalog.int2[])
        WITH ORDINALITY AS k(attnum, opclass, coll, flags, ord)
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    LEFT JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
) AS keys ON true
WHERE ic.relname = {name}
  AND ic.relnamespace = (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = {relid})
