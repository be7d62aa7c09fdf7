-- Purpose: read the elements and the predicate of the index of a run r, as SQL that is valid now.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it only reads; a part of other statements.
SELECT (SELECT pg_catalog.array_agg(pg_catalog.format('(%s)%s', pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::pg_catalog.int4, false),
                                        (SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname)
                                         FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                                         WHERE co.oid = k.coll)) ORDER BY k.ord)
        FROM pg_catalog.unnest(i.indcollation::pg_catalog.oid[]) WITH ORDINALITY AS k(coll, ord)) AS elements,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
WHERE i.indrelid = {relid}::pg_catalog.oid AND ic.relname = r.constraint_name AND i.indisunique
  AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)
