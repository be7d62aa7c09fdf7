-- Purpose: read from the catalog what a unique constraint compares.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord)
        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.ord <= i.indnkeyatts) AS columns,
       coalesce((SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord)
        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.ord > i.indnkeyatts), ARRAY[]::pg_catalog.text[]) AS included,
       coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false)
           AS nulls_not_distinct,
       con.condeferrable AS deferrable, con.condeferred AS deferred
FROM pg_catalog.pg_constraint con
JOIN pg_catalog.pg_index i ON i.indexrelid = con.conindid
WHERE con.conrelid = {relid}::pg_catalog.oid AND con.conname = {name} AND con.contype = 'u'
