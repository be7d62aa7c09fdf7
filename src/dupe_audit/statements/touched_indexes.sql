-- Purpose: list the unique indexes whose entries can differ after columns of a row were changed, with the SQL of their entries.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH touched AS (
    -- A generated column can be derived from any other.
    SELECT a.attrelid, a.attnum FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND (a.attgenerated <> '' OR a.attname::pg_catalog.text = ANY ({changed_columns}) OR a.attname::pg_catalog.text = ANY ({merged_columns}))
)
SELECT ic.relname::pg_catalog.text AS name,
       (SELECT pg_catalog.string_agg(pg_catalog.format('%s%s AS k%s', pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::pg_catalog.int4, false),
                   (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, co.collname)
                    FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace n ON n.oid = co.collnamespace WHERE co.oid = k.colloid), k.ord),
               ', ' ORDER BY k.ord)
        FROM pg_catalog.unnest((i.indcollation::pg_catalog.oid[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(colloid, ord)) AS entry,
       (SELECT pg_catalog.string_agg(pg_catalog.format('k%s', k), ', ' ORDER BY k) FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k) AS entry_names,
       (SELECT pg_catalog.string_agg(pg_catalog.format('new.k%s', k), ', ' ORDER BY k) FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k) AS new_entry,
       (SELECT pg_catalog.string_agg(pg_catalog.format('old.k%s', k), ', ' ORDER BY k) FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k) AS old_entry,
       CASE WHEN coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false) THEN 'true'
            ELSE (SELECT pg_catalog.string_agg(pg_catalog.format('k%s IS DISTINCT FROM NULL', k), ' AND ' ORDER BY k)
                  FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k) END AS comparable,
       coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), 'true') AS predicate
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisunique AND i.indisvalid AND NOT i.indisprimary
  AND EXISTS (SELECT FROM touched
              WHERE touched.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])
                 OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AND d.objid = i.indexrelid
                              AND d.refclassid = d.classid AND d.refobjid = touched.attrelid AND d.refobjsubid = touched.attnum
                              AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)))
ORDER BY 1
