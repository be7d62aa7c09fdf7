-- Purpose: list what could enforce a run's key: unique constraints and unique indexes that belong to none; first the one of its name.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- For a key with an expression or a predicate, every other index is listed; what it compares is judged afterwards.
SELECT coalesce(con.conname, ic.relname)::pg_catalog.text AS name, con.oid IS NOT NULL AS is_constraint,
       whole.name AS whole, whole.table AS whole_table
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid AND con.conrelid = i.indrelid AND con.contype IN ('u', 'p', 'x')
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attname::pg_catalog.text) AS names
    FROM pg_catalog.unnest((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1]) AS k(attnum)
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum <> 0
) AS keyed
LEFT JOIN LATERAL ({whole}) AS whole ON true
WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisunique AND (con.oid IS NULL OR con.contype = 'u')
  AND (coalesce(con.conname, ic.relname) = {name}
       OR CASE WHEN {is_plain}
               THEN i.indpred IS NULL AND i.indexprs IS NULL AND keyed.names OPERATOR(pg_catalog.@>) {key}
                    AND keyed.names OPERATOR(pg_catalog.<@) {key}
               ELSE con.oid IS NULL AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL) END)
ORDER BY coalesce(con.conname, ic.relname) = {name} DESC, con.oid IS NULL, 1
