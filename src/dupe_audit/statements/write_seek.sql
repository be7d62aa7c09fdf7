-- Purpose: read the operators that compare the key, if it has no index but another one finds it among at most 1,000 rows.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.array_agg((
           -- The equality operator of the type's default btree operator class.
           SELECT pg_catalog.format('OPERATOR(%I.%s)', op_ns.nspname, op.oprname)
           FROM pg_catalog.pg_opclass oc
           JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod AND am.amname = 'btree'
           JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
               AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
           JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
           JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace
           WHERE oc.opcdefault
             AND (oc.opcintype = base.oid
                  OR oc.opcintype = CASE
                      WHEN base.typtype = 'e' THEN 'pg_catalog.anyenum'::pg_catalog.regtype::pg_catalog.oid
                      WHEN base.typtype = 'r' THEN 'pg_catalog.anyrange'::pg_catalog.regtype::pg_catalog.oid
                      WHEN base.typcategory = 'A' THEN 'pg_catalog.anyarray'::pg_catalog.regtype::pg_catalog.oid END
                  OR EXISTS (SELECT FROM pg_catalog.pg_cast ca
                             WHERE ca.castsource = base.oid AND ca.casttarget = oc.opcintype
                               AND ca.castmethod = 'b' AND ca.castcontext = 'i'))
           ORDER BY oc.opcintype <> base.oid
           LIMIT 1) ORDER BY k.ord) AS operators
FROM pg_catalog.pg_class c
CROSS JOIN pg_catalog.unnest({key}) WITH ORDINALITY AS k(name, ord)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = k.name AND a.attnum > 0
CROSS JOIN LATERAL (
    WITH RECURSIVE down AS (
        SELECT t.oid, t.typtype, t.typcategory, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid
        UNION ALL
        SELECT t.oid, t.typtype, t.typcategory, t.typbasetype
        FROM pg_catalog.pg_type t JOIN down d ON t.oid = d.typbasetype WHERE d.typtype = 'd'
    )
    SELECT d.oid, d.typtype, d.typcategory FROM down d WHERE d.typtype <> 'd'
) AS base
WHERE c.oid = {relid}::pg_catalog.oid
  AND EXISTS (
      SELECT FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
      JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_attribute lead ON lead.attrelid = c.oid AND lead.attnum = i.indkey[0]
      LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
          AND s.attname = lead.attname AND s.inherited = (c.relkind = 'p')
      CROSS JOIN LATERAL (
          SELECT greatest(c.reltuples::pg_catalog.float8, 1::pg_catalog.float8) AS rows, s.n_distinct::pg_catalog.float8 AS distinct_values
      ) AS size
      WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
        AND lead.attname::pg_catalog.text = ANY ({key})
        -- A negative n_distinct is a fraction of the rows; a table without statistics is new or small.
        AND coalesce(size.rows < 1000::pg_catalog.float8 * CASE WHEN size.distinct_values < 0::pg_catalog.float8
                                                                THEN -size.distinct_values * size.rows
                                                                ELSE size.distinct_values END, true))
