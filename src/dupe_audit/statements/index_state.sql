-- Purpose: judge the index of that name by its definition and validity, and read which constraint it belongs to.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT ic.oid, ic.relname::pg_catalog.text AS name, ic.relkind::pg_catalog.text AS relkind, i.indrelid,
       i.indisvalid AS valid, i.indisready AS ready,
       -- pg_get_indexdef() would return the same, but waits for a session that holds ACCESS EXCLUSIVE on the table.
       CASE WHEN i.indexrelid IS NOT NULL THEN pg_catalog.format(
           'CREATE %sINDEX %I ON %I.%I USING %s (%s)%s%s%s', CASE WHEN i.indisunique THEN 'UNIQUE ' END,
           ic.relname, tn.nspname, tc.relname, am.amname, pg_catalog.array_to_string(keys.shown, ', '),
           CASE WHEN pg_catalog.cardinality(keys.included) > 0
                THEN pg_catalog.format(' INCLUDE (%s)', pg_catalog.array_to_string(keys.included, ', ')) END,
           CASE WHEN (pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool THEN ' NULLS NOT DISTINCT' END,
           CASE WHEN i.indpred IS NOT NULL THEN ' WHERE (...)' END) END AS definition,
       ic.relpages::pg_catalog.int8 * pg_catalog.current_setting('block_size')::pg_catalog.int8 AS bytes,
       coalesce(i.indisunique AND am.amname = 'btree' AND i.indpred IS NULL AND i.indexprs IS NULL
           -- Before PostgreSQL 15 there was no such column, and NULLs were always distinct.
           AND {nulls_not_distinct}
               = coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false)
           AND keys.names OPERATOR(pg_catalog.=) {key} AND keys.included OPERATOR(pg_catalog.=) {include}
           AND keys.standard, false) AS same_definition,
       con.conname::pg_catalog.text AS constraint_name,
       coalesce(con.contype = 'u' AND con.condeferrable = {deferrable} AND con.condeferred = {deferred}, false)
           AS same_constraint_form
FROM pg_catalog.pg_class ic
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = ic.oid
LEFT JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace
LEFT JOIN pg_catalog.pg_am am ON am.oid = ic.relam
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = ic.oid AND con.contype IN ('u', 'p', 'x')
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(coalesce(pg_catalog.quote_ident(a.attname), '(expression)')
                    || CASE WHEN oc.opcdefault THEN '' ELSE coalesce(' ' || oc.opcname::pg_catalog.text, '') END ORDER BY k.ord)
                    FILTER (WHERE k.ord <= i.indnkeyatts) AS shown,
           coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord)
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
  AND ic.relnamespace = (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = {relid}::pg_catalog.oid)
