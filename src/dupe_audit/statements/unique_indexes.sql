-- Purpose: list what makes the rows of a table unique: its unique indexes and exclusion constraints.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT ic.relname::pg_catalog.text AS name, i.indisvalid AND i.indisready AND i.indislive AS valid, i.indisprimary AS is_primary,
       i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AS is_plain,
       coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false)
           AS nulls_not_distinct,
       (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text)
        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.ord <= i.indnkeyatts) AS columns
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
WHERE i.indrelid = {relid}::pg_catalog.oid AND (i.indisunique OR i.indisexclusion)
