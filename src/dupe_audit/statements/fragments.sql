-- Purpose: derive from the catalog every piece of SQL that fills the holes of other statements.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH rel AS (
    -- The leaves of a tree are read one by one under the name of the whole; each replaces the placeholders.
    SELECT c.oid, n.nspname, c.relname, c.relkind = 'p' AS is_tree,
           coalesce({placeholder}::pg_catalog.text, pg_catalog.format('%I.%I', n.nspname, c.relname)) AS source,
           coalesce({alias_placeholder}::pg_catalog.text, pg_catalog.format('%I', c.relname)) AS alias
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = {relid}::pg_catalog.oid
), rule AS (
    -- Each element has a name or an expression, and each part of the order too; the other one is NULL.
    SELECT {key} AS key, {expressions} AS expressions, {predicate}::pg_catalog.text AS predicate,
           {order_by} AS order_by, {order_expressions} AS order_expressions, {directions} AS directions, {ignore} AS ignore,
           {keep}::pg_catalog.text AS keep, {numbered}::pg_catalog.bool AS numbered, {divides}::pg_catalog.bool AS divides, {divergent}::pg_catalog.text AS divergent,
           {nulls_not_distinct}::pg_catalog.bool AS nulls_not_distinct
), col AS (
    SELECT a.attnum, a.attname::pg_catalog.text AS name, a.attgenerated <> '' AS generated,
           -- A column can be marked NOT NULL and still hold NULLs (NOT VALID, PostgreSQL 18).
           a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint con
                                        WHERE con.conrelid = a.attrelid AND con.contype = 'n' AND NOT con.convalidated
                                          AND a.attnum = ANY (con.conkey)) AS attnotnull,
           t.typlen, t.typbyval, a.atttypid, a.atttypmod, a.attcollation,
           -- A column with few values separates few rows, so it is compared last (a negative n_distinct is a ratio).
           -- Looked up per column, because the view is a security barrier: a join with it would read the statistics of the whole database.
           CASE WHEN pg_catalog.cardinality(rule.key) > 1 AND a.attname = ANY (rule.key) THEN coalesce(
               (SELECT s.n_distinct::pg_catalog.float8 BETWEEN 0::pg_catalog.float8 AND 100::pg_catalog.float8
                FROM pg_catalog.pg_stats s
                WHERE s.schemaname = rel.nspname AND s.tablename = rel.relname AND s.attname = a.attname
                  AND s.inherited = rel.is_tree), false) ELSE false END AS few_values
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN rel ON rel.oid = a.attrelid
    CROSS JOIN rule
    WHERE a.attnum > 0 AND NOT a.attisdropped
), element AS (
    -- What follows an alias: the column, or the value that key_values computes of the row.
    SELECT k.ord, coalesce('.' || pg_catalog.quote_ident(k.name), pg_catalog.format('_key.k%s', k.ord)) AS of_alias,
           -- An expression may be defined for the rows of the predicate only; CASE keeps the order of evaluation.
           pg_catalog.format(CASE WHEN rule.predicate IS NULL THEN '(%1$s)' ELSE 'CASE WHEN (%2$s) THEN (%1$s) END' END,
                             k.expression, rule.predicate) AS value,
           k.expression, col.typlen,
           (NOT coalesce(col.attnotnull, false)) AND NOT rule.nulls_not_distinct AS excludes_null,
           -- Cheap, selective columns come first: a ranking of 3,000,000 rows was 1.6 times faster (measured).
           pg_catalog.row_number() OVER (ORDER BY coalesce(col.few_values, false), NOT coalesce(col.typbyval, false),
                                                  coalesce(col.typlen < 0, true), col.attnum, k.ord) AS place
    FROM rule
    CROSS JOIN LATERAL unnest(rule.key, rule.expressions) WITH ORDINALITY AS k(name, expression, ord)
    LEFT JOIN col ON col.name = k.name
), pk AS (
    SELECT k.ord, a.attname::pg_catalog.text AS name,
           pg_catalog.format('OPERATOR(%I.%s)', op_ns.nspname, op.oprname) AS eq
    FROM pg_catalog.pg_index i
    JOIN rel ON rel.oid = i.indrelid
    CROSS JOIN LATERAL unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[])
        WITH ORDINALITY AS k(attnum, opclass, ord)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
    JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
    JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
    JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace
    WHERE i.indisprimary AND i.indisvalid AND k.ord <= i.indnkeyatts
      -- A primary key over periods (PostgreSQL 18) is a GiST index, whose third operator is not equality.
      AND oc.opcmethod = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'btree')
), identity AS (
    SELECT ord, name, eq, true AS orderable FROM pk
    UNION ALL
    -- ctid alone can name another row by the time it is used; ctid and xmin name one tuple version (H7).
    SELECT ord, name, 'OPERATOR(pg_catalog.=)', name = 'ctid'
    FROM (VALUES (1, 'ctid'), (2, 'xmin')) AS tuple_version(ord, name)
    WHERE NOT EXISTS (SELECT FROM pk)
), compared AS (
    -- The columns in which the rows of a group have to agree, so that it is exact.
    -- If equal values have equal images, the operator gives the same result as record_image_eq at a fifth of its cost.
    SELECT col.name, pg_catalog.row_number() OVER (ORDER BY col.attnum) AS place,
           pg_catalog.format(
               CASE WHEN col.atttypid = ANY (ARRAY['pg_catalog.bool', 'pg_catalog.int2', 'pg_catalog.int4', 'pg_catalog.int8', 'pg_catalog.date', 'pg_catalog.timestamp',
                                                   'pg_catalog.timestamptz', 'pg_catalog.uuid']::pg_catalog.regtype[]::pg_catalog.oid[])
                         OR col.atttypid = 'pg_catalog.text'::pg_catalog.regtype::pg_catalog.oid
                            AND (SELECT co.collisdeterministic FROM pg_catalog.pg_collation co WHERE co.oid = col.attcollation)
                    THEN '(e.%1$I IS NULL AND v.%1$I IS NOT NULL OR e.%1$I IS NOT NULL AND v.%1$I IS NULL OR e.%1$I OPERATOR(pg_catalog.<>) v.%1$I)'
                    ELSE 'NOT pg_catalog.record_image_eq(ROW(e.%1$I), ROW(v.%1$I))' END, col.name) AS differs
    FROM col CROSS JOIN rule
    WHERE NOT col.generated AND col.name <> ALL (rule.ignore) AND NOT EXISTS (SELECT FROM pk WHERE pk.name = col.name)
), fk AS (
    SELECT con.oid,
           pg_catalog.format('%I.%I', cn.nspname, cc.relname) AS child,
           (SELECT pg_catalog.string_agg(
                       pg_catalog.format('e.%I%s OPERATOR(%I.%s) c.%I', pa.attname, co.clause, op_ns.nspname, op.oprname, ca.attname),
                       ' AND ' ORDER BY u.ord)
            FROM unnest(con.conkey, con.confkey, con.conpfeqop)
                WITH ORDINALITY AS u(child_att, parent_att, eq, ord)
            JOIN pg_catalog.pg_attribute ca ON ca.attrelid = con.conrelid AND ca.attnum = u.child_att
            JOIN pg_catalog.pg_attribute pa ON pa.attrelid = con.confrelid AND pa.attnum = u.parent_att
            JOIN pg_catalog.pg_operator op ON op.oid = u.eq
            JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace
            -- Where the columns have different collations, the looser one is used, so that no child is missed.
            LEFT JOIN LATERAL (
                SELECT pg_catalog.format(' COLLATE %I.%I', co_ns.nspname, co.collname) AS clause
                FROM pg_catalog.pg_collation co
                JOIN pg_catalog.pg_namespace co_ns ON co_ns.oid = co.collnamespace
                WHERE pa.attcollation <> ca.attcollation AND co.oid IN (pa.attcollation, ca.attcollation)
                ORDER BY co.collisdeterministic, co.oid = pa.attcollation
                LIMIT 1
            ) AS co ON true) AS condition
    FROM pg_catalog.pg_constraint con
    JOIN rel ON rel.oid = con.confrelid
    JOIN pg_catalog.pg_class cc ON cc.oid = con.conrelid
    JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace
    WHERE con.contype = 'f'
      -- A partitioned child has a constraint, and so has each of its partitions; the former covers all rows.
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up
                      WHERE up.oid = con.conparentid AND up.confrelid = con.confrelid)
)
SELECT
    rel.source AS table,
    -- Of a leaf, the archive also has the name.
    '' AS and_leaf, '' AS and_its_leaf,
    pg_catalog.quote_literal(pg_catalog.format('%I.%I', rel.nspname, rel.relname)) AS table_name,
    rel.alias AS relation,
    (SELECT pg_catalog.string_agg(pg_catalog.format('%I', name), ', ' ORDER BY attnum) FROM col) AS columns,
    (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', name), ', ' ORDER BY attnum) FROM col) AS t_columns,
    (SELECT pg_catalog.string_agg(pg_catalog.format('deleted.%I', name), ', ' ORDER BY attnum) FROM col) AS deleted_columns,
    (SELECT pg_catalog.md5(pg_catalog.string_agg(
                pg_catalog.format('%s %s %s %s', attnum, name, atttypid, atttypmod), ',' ORDER BY attnum)
            || (SELECT coalesce(pg_catalog.string_agg(con.oid::pg_catalog.text, ',' ORDER BY con.oid), '')
                FROM pg_catalog.pg_constraint con JOIN rel ON rel.oid = con.confrelid WHERE con.contype = 'f'))
     FROM col) AS columns_digest,
    key.partition_by,
    -- Where rows are read: the table itself, or a subquery that computes the expressions of the key.
    CASE WHEN key.is_computed THEN source.of_predicate ELSE source.of_table END AS t_source,
    -- A computed value has no statistics: the planner would group the rows in each worker and again, at 1.4 times the cost (measured).
    CASE WHEN key.is_computed THEN pg_catalog.format('(SELECT t.ctid, %s FROM %s WHERE %s ORDER BY %s LIMIT ALL) AS t%s', key.columns,
                                                     source.of_predicate, key.countable, key.partition_by, source.of_values)
         ELSE source.of_table END AS t_source_by_key,
    CASE WHEN key_values.t <> '' THEN source.of_all_rows ELSE source.of_table END AS t_source_of_all_rows,
    coalesce((SELECT pg_catalog.string_agg(pg_catalog.format('coalesce(pg_catalog.pg_column_size(t%s), 0)', of_alias), ' + ' ORDER BY place)
              FROM element WHERE typlen IS NULL OR typlen < 0), '0')
        || (SELECT pg_catalog.format(' + %s', pg_catalog.sum(typlen)) FROM element WHERE typlen > 0
            HAVING pg_catalog.count(*) > 0 UNION ALL SELECT '' LIMIT 1) AS t_key_width,
    coalesce((SELECT pg_catalog.string_agg(pg_catalog.format('coalesce(pg_catalog.pg_column_size(e.%I), 0)', name), ' + ')
              FROM col WHERE typlen < 0), '0') AS e_bytes,
    CASE WHEN rule.predicate IS NULL THEN 'true' ELSE 't_key.met' END AS t_in_predicate,
    key.countable AS t_countable,
    key_values.t AS t_key_values, key_values.e AS e_key_values, key_values.v AS v_key_values,
    -- record_eq compares as the default btree operator class does, whatever schema its operators are in (H28-H34).
    -- It treats two NULLs as equal; where NULLs are distinct, t_countable has excluded such rows.
    pg_catalog.format('pg_catalog.record_eq(ROW(%s), ROW(%s)) AND %s AND %s',
        (SELECT pg_catalog.string_agg('e' || of_alias, ', ' ORDER BY ord) FROM element),
        (SELECT pg_catalog.string_agg('v' || of_alias, ', ' ORDER BY ord) FROM element),
        CASE WHEN rule.predicate IS NULL THEN 'true' ELSE 'e_key.met' END,
        pg_catalog.concat_ws(' AND ', CASE WHEN rule.predicate IS NOT NULL THEN 'v_key.met' END, coalesce(
        (SELECT pg_catalog.string_agg(pg_catalog.format('v%s IS DISTINCT FROM NULL', of_alias), ' AND ' ORDER BY ord) FROM element WHERE excludes_null),
        CASE WHEN rule.predicate IS NULL THEN 'true' END))) AS same_key,
    (SELECT pg_catalog.string_agg(pg_catalog.format('v%s AS k%s', of_alias, ord), ', ' ORDER BY ord) FROM element) AS v_key_as_k,
    -- A deleted table has no LATERAL subquery, so the values of its rows are computed by scalar ones.
    pg_catalog.format('pg_catalog.record_eq(ROW(%s), ROW(%s))%s',
        (SELECT pg_catalog.string_agg(CASE WHEN expression IS NULL THEN 't' || of_alias
                                           ELSE pg_catalog.format('(SELECT %s FROM (SELECT t.*) AS %I)', value, rel.relname) END, ', ' ORDER BY ord)
         FROM element),
        (SELECT pg_catalog.string_agg(pg_catalog.format('j.k%s', ord), ', ' ORDER BY ord) FROM element),
        CASE WHEN rule.predicate IS NOT NULL
             THEN pg_catalog.format(' AND (SELECT (%s) IS TRUE FROM (SELECT t.*) AS %I)', rule.predicate, rel.relname) ELSE '' END) AS t_still_key,
    -- Binary images are compared, so values are the same only if they are restored the same; json has no equality.
    pg_catalog.format('pg_catalog.record_image_eq(ROW(%s), ROW(%s))',
        (SELECT pg_catalog.string_agg(pg_catalog.format('e.%I', name), ', ' ORDER BY place) FROM compared),
        (SELECT pg_catalog.string_agg(pg_catalog.format('v.%I', name), ', ' ORDER BY place) FROM compared)) AS same_data,
    (SELECT pg_catalog.format('ARRAY[%s]::pg_catalog.text[]', pg_catalog.string_agg(pg_catalog.quote_literal(name), ', ' ORDER BY place))
     FROM compared) AS compared_names,
    coalesce((SELECT pg_catalog.string_agg(pg_catalog.format('pg_catalog.bool_or(%s) AS d%s', differs, place), ', ' ORDER BY place)
              FROM compared), 'NULL') AS differing_flags,
    (SELECT pg_catalog.format('ARRAY[%s]::pg_catalog.int8[]', pg_catalog.string_agg(
                pg_catalog.format('pg_catalog.count(*) FILTER (WHERE d%s)', place), ', ' ORDER BY place))
     FROM compared) AS differing_counts,
    CASE rule.divergent WHEN 'archive' THEN 'false' ELSE 'true' END AS refuse_divergent,
    (SELECT pg_catalog.string_agg(
                coalesce('t.' || pg_catalog.quote_ident(part.name) || CASE rule.keep WHEN 'last' THEN ' DESC' ELSE ' ASC' END || ' NULLS LAST',
                         pg_catalog.concat_ws(' ', pg_catalog.format('t_order.o%s', part.ord), nullif(part.direction, ''))),
                ', ' ORDER BY part.place, part.ord)
     FROM (SELECT 1 AS place, o.ord, o.name, o.direction
           FROM unnest(rule.order_by, rule.directions) WITH ORDINALITY AS o(name, direction, ord)
           UNION ALL
           SELECT 2, ord, name, '' FROM identity WHERE orderable) AS part) AS order_by,
    coalesce((SELECT pg_catalog.format(' CROSS JOIN LATERAL (SELECT %s FROM (SELECT %s) AS %I) AS t_order',
                         pg_catalog.string_agg(pg_catalog.format('(%s) AS o%s', o.expression, o.ord), ', ' ORDER BY o.ord),
                         -- Not t.*, which can also contain the computed values of the key.
                         (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', name), ', ' ORDER BY attnum) FROM col), rel.relname)
              FROM pg_catalog.unnest(rule.order_expressions) WITH ORDINALITY AS o(expression, ord)
              WHERE o.expression IS NOT NULL HAVING pg_catalog.count(*) > 0), '') AS t_order_values,
    (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I AS e%s', name, ord), ', ' ORDER BY ord) FROM identity) AS t_identity_as_e,
    (SELECT pg_catalog.string_agg(pg_catalog.format('pg_catalog.first_value(t.%I) OVER w AS s%s', name, ord), ', ' ORDER BY ord)
     FROM identity) AS t_first_identity_as_s,
    (SELECT pg_catalog.string_agg(pg_catalog.format('e%s', ord), ', ' ORDER BY ord) FROM identity) AS e_identity,
    (SELECT pg_catalog.string_agg(pg_catalog.format('s%s', ord), ', ' ORDER BY ord) FROM identity) AS s_identity,
    (SELECT pg_catalog.string_agg(pg_catalog.format('deleted.dupe_audit_survivor_%s', ord), ', ' ORDER BY ord)
     FROM identity) AS deleted_survivor,
    (SELECT pg_catalog.string_agg(pg_catalog.format('changed.dupe_audit_survivor_%s', ord), ', ' ORDER BY ord)
     FROM identity) AS changed_survivor,
    CASE WHEN rule.divides THEN 'NOT s.amend' ELSE 'true' END AS s_archives,
    CASE WHEN rule.divides THEN 's.amend' ELSE 'true' END AS s_amends,
    -- Where survivors take over values, the archive has the place of each extra in the staged list.
    CASE WHEN rule.numbered THEN ', l.n' ELSE '' END AS and_l_n,
    -- Their survivors also change.
    CASE WHEN rule.numbered THEN 'UPDATE' ELSE 'SHARE' END AS survivor_strength,
    CASE WHEN rule.numbered THEN ', j.n AS dupe_audit_n' ELSE '' END AS and_j_n,
    CASE WHEN rule.numbered THEN ', dupe_audit_n' ELSE '' END AS and_archived_n,
    CASE WHEN rule.numbered THEN ', deleted.dupe_audit_n' ELSE '' END AS and_deleted_n,
    (SELECT pg_catalog.string_agg(pg_catalog.format('v.%I AS dupe_audit_survivor_%s', name, ord), ', ' ORDER BY ord)
     FROM identity) AS v_identity_as_survivor,
    (SELECT pg_catalog.string_agg(pg_catalog.format('j.dupe_audit_survivor_%s', ord), ', ' ORDER BY ord)
     FROM identity) AS j_survivor,
    (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I AS dupe_audit_survivor_%s', name, ord), ', ' ORDER BY ord)
     FROM identity) AS t_identity_as_survivor,
    (SELECT pg_catalog.string_agg(pg_catalog.format('dupe_audit_survivor_%s', ord), ', ' ORDER BY ord)
     FROM identity) AS survivor_columns,
    (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', name), ', ' ORDER BY ord)
     FROM identity WHERE orderable) AS t_identity_order,
    (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I %s w.e%s', name, eq, ord), ' AND ' ORDER BY ord)
     FROM identity) AS t_is_w,
    (SELECT pg_catalog.string_agg(pg_catalog.format('e.%I %s s.e%s', name, eq, ord), ' AND ' ORDER BY ord)
     FROM identity) AS e_is_extra,
    (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I %s a.%1$I', name, eq), ' AND ' ORDER BY ord) FROM pk) AS t_is_a,
    (SELECT pg_catalog.string_agg(pg_catalog.format('s.s%s %s amended.dupe_audit_survivor_%1$s', ord, eq), ' AND ' ORDER BY ord)
     FROM identity) AS s_has_survivor_amended,
    (SELECT pg_catalog.string_agg(pg_catalog.format('%s.%I %s dupe_audit_extra.e%s', rel.alias, name, eq, ord), ' AND ' ORDER BY ord)
     FROM identity) AS is_staged,
    (SELECT pg_catalog.string_agg(pg_catalog.format('v.%I %s s.s%s', name, eq, ord), ' AND ' ORDER BY ord)
     FROM identity) AS v_is_survivor,
    -- Looked up per row: NOT EXISTS becomes an anti-join, which read the child's whole index in each batch (measured).
    coalesce((SELECT pg_catalog.string_agg(
                         pg_catalog.format('(SELECT true FROM %s c WHERE %s LIMIT 1) IS NULL', child, condition), ' AND ' ORDER BY oid)
              FROM fk), 'true') AS e_unreferenced
FROM rel CROSS JOIN rule
CROSS JOIN LATERAL (
    -- The row is given the table's name, so that an expression can use it; the planner inlines the whole.
    SELECT coalesce(pg_catalog.max(lateral_query.text) FILTER (WHERE alias = 't'), '') AS t,
           coalesce(pg_catalog.max(lateral_query.text) FILTER (WHERE alias = 'e'), '') AS e,
           coalesce(pg_catalog.max(lateral_query.text) FILTER (WHERE alias = 'v'), '') AS v
    FROM pg_catalog.unnest(ARRAY['t', 'e', 'v']) AS alias
    CROSS JOIN LATERAL (
        SELECT pg_catalog.format(' CROSS JOIN LATERAL (SELECT %s FROM (SELECT %s.*) AS %I) AS %s_key', pg_catalog.concat_ws(', ',
                   '(' || rule.predicate || ') IS TRUE AS met',
                   (SELECT pg_catalog.string_agg(pg_catalog.format('%s AS k%s', value, ord), ', ' ORDER BY ord)
                    FROM element WHERE expression IS NOT NULL)), alias, rel.relname, alias) AS text
        WHERE rule.predicate IS NOT NULL OR EXISTS (SELECT FROM element WHERE expression IS NOT NULL)
    ) AS lateral_query
) AS key_values
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM element WHERE expression IS NOT NULL) AS is_computed,
           (SELECT pg_catalog.string_agg('t' || of_alias, ', ' ORDER BY place) FROM element) AS partition_by,
           (SELECT pg_catalog.string_agg(CASE WHEN expression IS NULL THEN 't' || of_alias
                                              ELSE pg_catalog.format('t%s AS "dupe-audit k%s"', of_alias, ord) END, ', ' ORDER BY ord)
            FROM element) AS columns,
           -- IS DISTINCT FROM NULL, because a composite value with a NULL in it is neither NULL nor NOT NULL, and an index compares it.
           pg_catalog.concat_ws(' AND ', CASE WHEN rule.predicate IS NOT NULL THEN 't_key.met' END, coalesce(
               (SELECT pg_catalog.string_agg(pg_catalog.format('t%s IS DISTINCT FROM NULL', of_alias), ' AND ' ORDER BY ord)
                FROM element WHERE excludes_null),
               CASE WHEN rule.predicate IS NULL THEN 'true' END)) AS countable
) AS key
CROSS JOIN LATERAL (
    SELECT pg_catalog.format('ONLY %s t%s', rel.source, key_values.t) AS of_table,
           -- A table can have columns whose names start with dupe_audit_, so computed values have other names.
           -- LIMIT ALL keeps the planner from inlining a subquery, so that each value is computed once per row, where the row is read.
           -- Inlined, it would be computed for each reference: to filter, to sort, to hash. OFFSET 0 would prevent a parallel scan.
           pg_catalog.concat('(SELECT ', part.columns, part.expressions, part.of_table, ' WHERE (' || rule.predicate || ')',
                             ' LIMIT ALL) AS t', part.of_values) AS of_predicate,
           pg_catalog.concat('(SELECT ', part.columns, ', (' || rule.predicate || ') IS TRUE AS "dupe-audit met"', part.guarded, part.of_table,
                             ' LIMIT ALL) AS t CROSS JOIN LATERAL (SELECT ',
                             CASE WHEN rule.predicate IS NULL THEN 'true' ELSE 't."dupe-audit met"' END, ' AS met', part.as_k, ') AS t_key')
               AS of_all_rows,
           part.of_values
    FROM (SELECT pg_catalog.format('%1$I.*, %1$I.ctid, %1$I.xmin', rel.relname) AS columns,
                 pg_catalog.format(' FROM ONLY %s AS %I', rel.source, rel.relname) AS of_table,
                 pg_catalog.string_agg(pg_catalog.format(', (%s) AS "dupe-audit k%s"', expression, ord), '' ORDER BY ord) AS expressions,
                 pg_catalog.string_agg(pg_catalog.format(', %s AS "dupe-audit k%s"', value, ord), '' ORDER BY ord) AS guarded,
                 pg_catalog.string_agg(pg_catalog.format(', t."dupe-audit k%1$s" AS k%1$s', ord), '' ORDER BY ord) AS as_k,
                 pg_catalog.concat(' CROSS JOIN LATERAL (SELECT true AS met',
                                   pg_catalog.string_agg(pg_catalog.format(', t."dupe-audit k%1$s" AS k%1$s', ord), '' ORDER BY ord),
                                   ') AS t_key') AS of_values
          FROM element WHERE expression IS NOT NULL) AS part
) AS source
