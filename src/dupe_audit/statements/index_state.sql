-- Purpose: judge the index of that name by its definition and validity, and read which constraint it belongs to.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT ic.oid, ic.relname::pg_catalog.text AS name, ic.relkind::pg_catalog.text AS relkind, i.indrelid,
       i.indisvalid AS valid, i.indisready AS ready,
       -- pg_get_indexdef() would return the same, but waits for a session that holds ACCESS EXCLUSIVE on the table.
       CASE WHEN i.indexrelid IS NOT NULL THEN pg_catalog.format(
           'CREATE %sINDEX %I ON %s USING %I (%s)%s%s%s%s', CASE WHEN i.indisunique THEN 'UNIQUE ' END, ic.relname,
           (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = i.indrelid),
           am.amname, pg_catalog.array_to_string(keys.shown, ', '),
           CASE WHEN pg_catalog.cardinality(keys.included) > 0
                THEN pg_catalog.format(' INCLUDE (%s)', pg_catalog.array_to_string(keys.included, ', ')) END,
           CASE WHEN (pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool THEN ' NULLS NOT DISTINCT' END,
           (SELECT pg_catalog.format(' WITH (%s)', pg_catalog.string_agg(
                       pg_catalog.format(CASE WHEN o.option_value ~ '^[a-z_]+$' THEN '%s=%s' ELSE '%s=%L' END, o.option_name, o.option_value), ', '))
            FROM pg_catalog.pg_options_to_table(ic.reloptions) AS o HAVING pg_catalog.count(*) > 0),
           CASE WHEN i.indpred IS NOT NULL THEN pg_catalog.format(' WHERE %s',
               CASE WHEN {is_plain} THEN '(...)' ELSE pg_catalog.pg_get_expr(i.indpred, i.indrelid) END) END) END AS definition,
       -- The index of a partitioned table has no pages itself; its parts, at every level below, have.
       (WITH RECURSIVE part AS (
            SELECT ic.oid
            UNION ALL
            SELECT h.inhrelid FROM part JOIN pg_catalog.pg_inherits h ON h.inhparent = part.oid)
        SELECT pg_catalog.sum(pc.relpages::pg_catalog.int8) FROM part JOIN pg_catalog.pg_class pc ON pc.oid = part.oid)::pg_catalog.int8
           * pg_catalog.current_setting('block_size')::pg_catalog.int8 AS bytes,
       coalesce(i.indisunique AND am.amname = 'btree'
           -- Before PostgreSQL 15 there was no such column, and NULLs were always distinct.
           AND {nulls_not_distinct}
               = coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false)
           AND keys.included OPERATOR(pg_catalog.=) {include} AND keys.standard
           -- The expressions and the predicate of another key are compared by the planner, afterwards.
           AND CASE WHEN {is_plain}
                    THEN i.indpred IS NULL AND i.indexprs IS NULL AND keys.names OPERATOR(pg_catalog.=) {key} AND keys.own_collations
                    ELSE (i.indpred IS NOT NULL) = {has_predicate} AND i.indnkeyatts = pg_catalog.cardinality({key}) END,
           false) AS same_definition,
       CASE WHEN NOT {is_plain} THEN keys.elements END AS elements, keys.collations,
       CASE WHEN NOT {is_plain} THEN pg_catalog.pg_get_expr(i.indpred, i.indrelid) END AS predicate,
       con.conname::pg_catalog.text AS constraint_name,
       CASE con.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' WHEN 'x' THEN 'EXCLUDE' END
           || CASE WHEN con.condeferrable THEN ' DEFERRABLE' ELSE '' END
           || CASE WHEN con.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END AS constraint_form,
       coalesce(con.contype = 'u' AND con.condeferrable = {deferrable} AND con.condeferred = {deferred}, false)
           AS same_constraint_form
FROM pg_catalog.pg_class ic
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = ic.oid
LEFT JOIN pg_catalog.pg_am am ON am.oid = ic.relam
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = ic.oid AND con.conrelid = i.indrelid AND con.contype IN ('u', 'p', 'x')
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(coalesce(pg_catalog.quote_ident(a.attname),
                                CASE WHEN {is_plain} THEN '(expression)' ELSE pg_catalog.format('(%s)', pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::pg_catalog.int4, false)) END)
                    || CASE WHEN k.coll <> a.attcollation THEN coalesce(' COLLATE ' || co.name, '') ELSE '' END
                    || CASE WHEN judged.usual_class THEN '' ELSE coalesce(' ' || CASE
                           WHEN pg_catalog.pg_opclass_is_visible(oc.oid) THEN pg_catalog.quote_ident(oc.opcname)
                           ELSE pg_catalog.format('%I.%I', (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = oc.opcnamespace), oc.opcname)
                       END, '') END
                    -- Bit 1 is DESC, bit 2 NULLS FIRST; what is usual for each direction is not shown.
                    || CASE k.flags WHEN 1 THEN ' DESC NULLS LAST' WHEN 2 THEN ' NULLS FIRST' WHEN 3 THEN ' DESC' ELSE '' END
                    ORDER BY k.ord) FILTER (WHERE k.ord <= i.indnkeyatts) AS shown,
           coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord)
                    FILTER (WHERE k.ord <= i.indnkeyatts), ARRAY[]::pg_catalog.text[]) AS names,
           coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.ord)
                    FILTER (WHERE k.ord > i.indnkeyatts), ARRAY[]::pg_catalog.text[]) AS included,
           pg_catalog.array_agg(CASE WHEN NOT {is_plain} THEN coalesce(pg_catalog.quote_ident(a.attname),
                                    pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::pg_catalog.int4, false)) END ORDER BY k.ord)
               FILTER (WHERE k.ord <= i.indnkeyatts) AS elements,
           pg_catalog.array_agg(co.name ORDER BY k.ord) FILTER (WHERE k.ord <= i.indnkeyatts) AS collations,
           coalesce(pg_catalog.bool_and(k.ord > i.indnkeyatts OR (judged.usual_class AND k.flags = 0)), false) AS standard,
           coalesce(pg_catalog.bool_and(k.ord > i.indnkeyatts OR k.coll = a.attcollation), false) AS own_collations
    FROM unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[],
                           i.indcollation::pg_catalog.oid[], i.indoption::pg_catalog.int2[])
        WITH ORDINALITY AS k(attnum, opclass, coll, flags, ord)
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    LEFT JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
    LEFT JOIN pg_catalog.pg_attribute own ON own.attrelid = i.indexrelid AND own.attnum = k.ord
    CROSS JOIN LATERAL ({usual_class}) AS judged
    -- As pg_collation_for() writes them.
    CROSS JOIN LATERAL (
        SELECT (SELECT CASE WHEN pg_catalog.pg_collation_is_visible(c.oid) THEN pg_catalog.quote_ident(c.collname)
                            ELSE pg_catalog.format('%I.%I', (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = c.collnamespace), c.collname) END
                FROM pg_catalog.pg_collation c WHERE c.oid = k.coll) AS name
    ) AS co
) AS keys ON true
WHERE ic.relname = {name}
  AND ic.relnamespace = (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = {relid}::pg_catalog.oid)
