-- Purpose: find the index of the key that ON CONFLICT can use, its operators, and every other unique index of the table.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE rel AS (
    SELECT c.oid, c.oid AS root FROM pg_catalog.pg_class c WHERE c.oid = ({relid})::pg_catalog.oid
    UNION ALL
    -- Partitions too, because a violation names the partition's index.
    SELECT h.inhrelid, rel.root FROM pg_catalog.pg_inherits h JOIN rel ON rel.oid = h.inhparent
), idx AS (
    SELECT i.indexrelid, i.indisunique, i.indisready, rel.oid = rel.root AS own, ic.relname::pg_catalog.text AS name, con.conname::pg_catalog.text AS constraint_name,
           i.indimmediate, i.indisvalid AND i.indimmediate AND am.amname = 'btree' AS usable, i.indisprimary AS primary,
           coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false) AS nulls_not_distinct,
           i.indpred IS NULL AND i.indexprs IS NULL AND am.amname = 'btree'
               AND part.names OPERATOR(pg_catalog.@>) {key} AND part.names OPERATOR(pg_catalog.<@) {key} AS of_key,
           i.indpred IS NULL AND i.indexprs IS NULL AND am.amname = 'btree' AS plain,
           i.indisunique OR (i.indexprs IS NULL AND NOT EXISTS (
               SELECT FROM pg_catalog.unnest(con.conexclop) AS excluded(oid) JOIN pg_catalog.pg_operator op ON op.oid = excluded.oid
               WHERE op.oprname <> '=')) AS compares_equality,
           part.names, part.operators, part.reads
    FROM rel
    JOIN pg_catalog.pg_index i ON i.indrelid = rel.oid AND (i.indisunique OR i.indisexclusion)
    JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_catalog.pg_am am ON am.oid = ic.relam
    LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid AND con.conrelid = i.indrelid AND con.contype IN ('u', 'p', 'x')
    CROSS JOIN LATERAL (
        SELECT pg_catalog.array_agg(coalesce(a.attname::pg_catalog.text, '') ORDER BY k.ord) AS names,
               -- The columns that its parts read. Those of expressions and of the predicate are recorded together.
               coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text) FILTER (WHERE a.attname IS NOT NULL), ARRAY[]::pg_catalog.text[])
               OPERATOR(pg_catalog.||) ARRAY(
                   SELECT b.attname::pg_catalog.text
                   FROM pg_catalog.pg_depend dep
                   JOIN pg_catalog.pg_attribute b ON b.attrelid = dep.refobjid AND b.attnum = dep.refobjsubid
                   WHERE i.indexprs IS NOT NULL
                     AND dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.objid = i.indexrelid
                     AND dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.refobjid = i.indrelid
                     AND pg_catalog.strpos(pg_catalog.pg_get_expr(i.indexprs, i.indrelid), b.attname::pg_catalog.text) > 0) AS reads,
               pg_catalog.array_agg(CASE WHEN op.oid IS NOT NULL THEN pg_catalog.format('OPERATOR(%I.%s)', op_ns.nspname, op.oprname) END
                                    ORDER BY k.ord) AS operators
        FROM unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[]) WITH ORDINALITY AS k(attnum, opclass, ord)
        JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        LEFT JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
            AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
        LEFT JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
        LEFT JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace
        WHERE k.ord <= i.indnkeyatts
    ) AS part
)
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.oid AS relid,
       coalesce((SELECT idx.names FROM idx WHERE idx.own AND idx.primary AND idx.usable), ARRAY[]::pg_catalog.text[]) AS primary_key,
       named.names AS constraint_columns,
       arbiter.names AS arbiter_columns, arbiter.operators, coalesce(arbiter.nulls_not_distinct, false) AS nulls_not_distinct,
       EXISTS (SELECT FROM idx WHERE NOT idx.indimmediate) AS deferrable,
       -- BEFORE INSERT FOR EACH ROW, that is bits 1, 2 and 4: it may change the key, by which a row is found afterwards.
       EXISTS (SELECT FROM rel JOIN pg_catalog.pg_trigger tg ON tg.tgrelid = rel.oid
               WHERE NOT tg.tgisinternal AND tg.tgenabled <> 'D' AND (tg.tgtype & 7::pg_catalog.int2) = 7) AS has_row_trigger,
       (SELECT pg_catalog.array_agg(ARRAY[rn.nspname::pg_catalog.text, rc.relname::pg_catalog.text])
        FROM rel JOIN pg_catalog.pg_class rc ON rc.oid = rel.oid JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace) AS relations,
       -- Whatever else such an index compares, and whichever rows: a row that violates it has the key of an existing one.
       (SELECT coalesce(pg_catalog.array_agg(idx.name), ARRAY[]::pg_catalog.text[])
        FROM idx WHERE idx.indisunique AND idx.names OPERATOR(pg_catalog.@>) {key}) AS key_indexes,
       (SELECT coalesce(pg_catalog.array_agg(idx.name), ARRAY[]::pg_catalog.text[])
        FROM idx WHERE NOT (idx.indisunique AND idx.names OPERATOR(pg_catalog.@>) {key})) AS other_indexes,
       -- Each rejects a second row of the key, and the key cannot be looked up in it.
       (SELECT coalesce(pg_catalog.array_agg(pg_catalog.pg_get_indexdef(idx.indexrelid) ORDER BY idx.name), ARRAY[]::pg_catalog.text[])
        FROM idx WHERE idx.own AND idx.indisready AND NOT idx.plain AND idx.compares_equality
                   AND {key} OPERATOR(pg_catalog.@>) idx.reads) AS unfit_indexes
FROM rel
JOIN pg_catalog.pg_class c ON c.oid = rel.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT idx.names FROM idx WHERE idx.own AND idx.constraint_name = {name}::pg_catalog.text
) AS named ON true
LEFT JOIN LATERAL (
    SELECT idx.names, idx.operators, idx.nulls_not_distinct
    FROM idx
    WHERE idx.own AND idx.of_key AND idx.usable
      AND ({name}::pg_catalog.text IS NULL OR idx.constraint_name = {name}::pg_catalog.text)
    ORDER BY idx.indexrelid
    LIMIT 1
) AS arbiter ON true
WHERE rel.oid = rel.root
