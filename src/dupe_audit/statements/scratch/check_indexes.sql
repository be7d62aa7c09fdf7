-- Purpose: describe every index on a project's tables, with all columns that it reads.
-- Lock: none beyond catalogs; waits for a session that holds ACCESS EXCLUSIVE on an indexed table.
-- Again: yes, it only reads.
SELECT i.indexrelid AS oid, n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS name,
       i.indrelid AS relid, tn.nspname::pg_catalog.text || '.' || t.relname::pg_catalog.text AS "table",
       i.indisunique AS "unique", i.indisprimary AS "primary", i.indisvalid AS valid, am.amname::pg_catalog.text AS method,
       ARRAY(SELECT part.definition || CASE
                        -- A nondeterministic collation makes different texts equal; the definition of a part lacks it.
                        WHEN collation_.oid IS NULL OR collation_.oid = a.attcollation OR part.definition LIKE '% COLLATE %' THEN ''
                        WHEN collation_.collisdeterministic AND coalesce(own.collisdeterministic, true) THEN ''
                        ELSE pg_catalog.format(' COLLATE %I.%I', space.nspname, collation_.collname) END
             FROM pg_catalog.generate_series(1, i.indnkeyatts::pg_catalog.int4) AS k(ord)
             CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_indexdef(i.indexrelid, k.ord, true) AS definition) AS part
             LEFT JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = i.indrelid AND a.attnum = (i.indkey::pg_catalog.int2[])[k.ord - 1] AND a.attnum <> 0
             LEFT JOIN pg_catalog.pg_collation collation_ ON collation_.oid = (i.indcollation::pg_catalog.oid[])[k.ord - 1]
             LEFT JOIN pg_catalog.pg_namespace space ON space.oid = collation_.collnamespace
             LEFT JOIN pg_catalog.pg_collation own ON own.oid = a.attcollation
             ORDER BY k.ord) AS elements,
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, ord)
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum <> 0
             WHERE k.ord <= i.indnkeyatts ORDER BY k.ord) AS columns,
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, ord)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE k.ord > i.indnkeyatts ORDER BY k.ord) AS include,
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = i.indrelid AND a.attnum > 0
               AND (a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])
                    -- The catalog records a dependency on each column that its expressions and predicate read.
                    OR ((i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) AND a.attnum <> ALL (i.indkey::pg_catalog.int2[])
                        AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
                                      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                      AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)))
             ORDER BY a.attnum) AS reads,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid, true) AS predicate,
       coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false) AS nulls_not_distinct,
       con.conname::pg_catalog.text AS "constraint", coalesce(con.condeferrable, false) AS deferrable,
       coalesce(con.condeferred, false) AS deferred, pg_catalog.pg_get_indexdef(i.indexrelid) AS definition,
       c.relispartition AS is_partition
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('u', 'p', 'x')
WHERE i.indrelid = ANY ({relids}::pg_catalog.oid[])
ORDER BY n.nspname, c.relname
