-- Purpose: list the other unique indexes whose columns are all in the key: equivalent, stricter or invalid.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT ic.relname::pg_catalog.text AS name, con.conname::pg_catalog.text AS constraint_name,
       i.indisvalid AS valid, i.indimmediate AS immediate,
       keys.names OPERATOR(pg_catalog.=) request.key_sorted AND nulls.not_distinct = {nulls_not_distinct} AS same_key,
       -- Stricter than the key: it has fewer columns, or treats NULLs as equal.
       keys.names OPERATOR(pg_catalog.<@) request.key_sorted AND nulls.not_distinct >= {nulls_not_distinct} AS stricter
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = ic.oid AND con.contype IN ('u', 'p')
CROSS JOIN (SELECT pg_catalog.array_agg(k ORDER BY k COLLATE "C") AS key_sorted
            FROM pg_catalog.unnest({key}) AS k) AS request
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attname::pg_catalog.text COLLATE "C") AS names
    FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, ord)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE k.ord <= i.indnkeyatts
) AS keys
CROSS JOIN LATERAL (
    -- Before PostgreSQL 15 there was no such column, and NULLs were always distinct.
    SELECT coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false) AS not_distinct
) AS nulls
WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
  AND ({constraint_name}::pg_catalog.text IS NULL OR ic.relname <> {constraint_name})
  AND keys.names OPERATOR(pg_catalog.<@) request.key_sorted
ORDER BY ic.relname
