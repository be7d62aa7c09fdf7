-- Purpose: list the columns in which the rows of a group are compared, and those that identify a row.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum)
                    FILTER (WHERE a.attgenerated = '' AND pk.ord IS NULL AND a.attname <> ALL ({ignore})),
                ARRAY[]::pg_catalog.text[]) AS compared,
       coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY pk.ord) FILTER (WHERE pk.ord IS NOT NULL),
                ARRAY['ctid']::pg_catalog.text[]) AS identity
FROM pg_catalog.pg_attribute a
LEFT JOIN (
    SELECT k.attnum, k.ord
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
    CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, ord)
    WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisprimary AND i.indisvalid AND k.ord <= i.indnkeyatts
) AS pk ON pk.attnum = a.attnum
WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
