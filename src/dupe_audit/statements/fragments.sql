-- Purpose: derive from the catalog every piece of SQL that fills the holes of other statements.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- Planning takes longer than executing it, so each list is read once for all that is made of it, and few tables are joined.
WITH rel AS (
    -- The leaves of a tree are read one by one under the name of the whole; each replaces the placeholders.
    -- Each element has a name or an expression, and each part of the order too; the other one is NULL.
    SELECT c.oid, n.nspname, c.relname, c.relkind = 'p' AS is_tree,
           coalesce({placeholder}::pg_catalog.text, pg_catalog.format('%I.%I', n.nspname, c.relname)) AS source,
           coalesce({alias_placeholder}::pg_catalog.text, pg_catalog.format('%I', c.relname)) AS alias,
           {key} AS key, {expressions} AS expressions, {predicate}::pg_catalog.text AS predicate,
           {order_by} AS order_by, {order_expressions} AS order_expressions, {directions} AS directions, {ignore} AS ignore,
           {keep}::pg_catalog.text AS keep, {numbered}::pg_catalog.bool AS numbered, {divides}::pg_catalog.bool AS divides, {divergent}::pg_catalog.text AS divergent,
           {nulls_not_distinct}::pg_catalog.bool AS nulls_not_distinct
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = {relid}::pg_catalog.oid
), col AS (
    SELECT a.attnum, a.attname::pg_catalog.text AS name, a.attgenerated <> '' AS generated,
           -- A column can be marked NOT NULL and still hold NULLs (NOT VALID, PostgreSQL 18).
           a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint con
                                        WHERE con.conrelid = a.attrelid AND con.contype = 'n' AND NOT con.convalidated
                                          AND a.attnum = ANY (con.conkey)) AS attnotnull,
           a.attlen, a.attbyval, a.atttypid, a.atttypmod, a.attcollation,
           -- Looked up per column, because the view is a security barrier: a join with it would read the statistics of the whole database.
           CASE WHEN a.attname = ANY (rel.key) AND (pg_catalog.cardinality(rel.key) > 1 OR a.attlen < 0) THEN
               (SELECT s.n_distinct::pg_catalog.float8
                FROM pg_catalog.pg_stats s
                WHERE s.schemaname = rel.nspname AND s.tablename = rel.relname AND s.attname = a.attname
                  AND s.inherited = rel.is_tree) END AS n_distinct
    FROM pg_catalog.pg_attribute a
    JOIN rel ON rel.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped
), element AS (
    -- What follows an alias: the column, or the value that key_values computes of the row.
    SELECT k.ord, coalesce('.' || pg_catalog.quote_ident(k.name), pg_catalog.format('_key.k%s', k.ord)) AS of_alias,
           -- An expression may be defined for the rows of the predicate only; CASE keeps the order of evaluation.
           pg_catalog.format(CASE WHEN rel.predicate IS NULL THEN '(%1$s)' ELSE 'CASE WHEN (%2$s) THEN (%1$s) END' END,
                             k.expression, rel.predicate) AS value,
           k.expression, rel.relname, col.attlen,
           (NOT coalesce(col.attnotnull, false)) AND NOT rel.nulls_not_distinct AS excludes_null,
           -- An integer that is the same in all rows of a group and, according to the statistics, different in most other rows.
           -- A key that is itself one integer is as cheap to sort, so its statistics are not read.
           CASE WHEN k.expression IS NOT NULL OR coalesce(col.n_distinct > -0.8::pg_catalog.float8, true) OR NOT col.attnotnull AND rel.nulls_not_distinct THEN NULL
                WHEN col.atttypid = ANY (ARRAY['pg_catalog.int4', 'pg_catalog.int8', 'pg_catalog.date', 'pg_catalog.timestamp',
                                               'pg_catalog.timestamptz']::pg_catalog.regtype[]::pg_catalog.oid[])
                THEN pg_catalog.format('t.%I', k.name)
                WHEN col.atttypid = ANY (ARRAY['pg_catalog.text', 'pg_catalog.varchar']::pg_catalog.regtype[]::pg_catalog.oid[])
                THEN pg_catalog.format('pg_catalog.hashtextextended(t.%I, 0)', k.name) END AS narrow,
           -- Cheap, selective columns come first: a ranking of 3,000,000 rows was 1.6 times faster (measured).
           -- One with few values separates few rows (a negative n_distinct is a share of the rows).
           pg_catalog.row_number() OVER (ORDER BY coalesce(col.n_distinct BETWEEN 0::pg_catalog.float8 AND 100::pg_catalog.float8, false), NOT coalesce(col.attbyval, false),
                                                  coalesce(col.attlen < 0, true), col.attnum, k.ord) AS place
    FROM rel
    CROSS JOIN LATERAL unnest(rel.key, rel.expressions) WITH ORDINALITY AS k(name, expression, ord)
    LEFT JOIN col ON col.name = k.name
), pk AS (
    SELECT k.ord, a.attname::pg_catalog.text AS name, k.eq
    FROM (
        SELECT i.indrelid, k.attnum, k.ord,
               -- Scalar subqueries, because a join of all these tables takes a tenth of the time of planning.
               (SELECT pg_catalog.format('OPERATOR(%I.%s)', (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = op.oprnamespace), op.oprname)
                FROM pg_catalog.pg_operator op
                WHERE op.oid = (
                    SELECT ao.amopopr
                    FROM pg_catalog.pg_opclass oc
                    JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
                        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
                    -- A primary key over periods (PostgreSQL 18) is a GiST index, whose third operator is not equality.
                    WHERE oc.oid = k.opclass AND oc.opcmethod = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'btree'))) AS eq
        FROM pg_catalog.pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[])
            WITH ORDINALITY AS k(attnum, opclass, ord)
        WHERE i.indrelid = (SELECT rel.oid FROM rel) AND i.indisprimary AND i.indisvalid AND k.ord <= i.indnkeyatts
    ) AS k
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.indrelid AND a.attnum = k.attnum
    WHERE k.eq IS NOT NULL
), identity AS (
    SELECT ord, name, eq, true AS orderable, true AS is_key FROM pk
    UNION ALL
    -- ctid alone can name another row by the time it is used; ctid and xmin name one tuple version (H7).
    SELECT ord, name, 'OPERATOR(pg_catalog.=)', name = 'ctid', false
    FROM (VALUES (1, 'ctid'), (2, 'xmin')) AS tuple_version(ord, name)
    WHERE NOT EXISTS (SELECT FROM pk)
), compared AS (
    -- The columns in which the rows of a group have to agree, so that it is exact.
    SELECT col.*, CASE WHEN col.is_compared THEN pg_catalog.count(*) FILTER (WHERE col.is_compared) OVER (ORDER BY col.attnum) END AS place
    FROM (SELECT col.*, NOT col.generated AND col.name <> ALL (rel.ignore) AND NOT EXISTS (SELECT FROM pk WHERE pk.name = col.name) AS is_compared
          FROM col CROSS JOIN rel) AS col
), of_columns AS (
    SELECT pg_catalog.string_agg(pg_catalog.format('%I', name), ', ' ORDER BY attnum) AS columns,
           pg_catalog.string_agg(pg_catalog.format('t.%I', name), ', ' ORDER BY attnum) AS t_columns,
           pg_catalog.string_agg(pg_catalog.format('deleted.%I', name), ', ' ORDER BY attnum) AS deleted_columns,
           pg_catalog.string_agg(pg_catalog.format('%s %s %s %s', attnum, name, atttypid, atttypmod), ',' ORDER BY attnum) AS described,
           coalesce(pg_catalog.string_agg(pg_catalog.format('coalesce(pg_catalog.pg_column_size(e.%I), 0)', name), ' + ' ORDER BY attnum)
                    FILTER (WHERE attlen < 0), '0') AS e_bytes,
           -- Binary images are compared, so values are the same only if they are restored the same; json has no equality.
           pg_catalog.format('pg_catalog.record_image_eq(ROW(%s), ROW(%s))',
               pg_catalog.string_agg(pg_catalog.format('e.%I', name), ', ' ORDER BY attnum) FILTER (WHERE is_compared),
               pg_catalog.string_agg(pg_catalog.format('v.%I', name), ', ' ORDER BY attnum) FILTER (WHERE is_compared)) AS same_data,
           pg_catalog.format('ARRAY[%s]::pg_catalog.text[]',
               pg_catalog.string_agg(pg_catalog.quote_literal(name), ', ' ORDER BY attnum) FILTER (WHERE is_compared)) AS compared_names,
           -- If equal values have equal images, the operator gives the same result as record_image_eq at a fifth of its cost.
           coalesce(pg_catalog.string_agg(pg_catalog.format('pg_catalog.bool_or(%s) AS d%s', pg_catalog.format(
               CASE WHEN atttypid = ANY (ARRAY['pg_catalog.bool', 'pg_catalog.int2', 'pg_catalog.int4', 'pg_catalog.int8', 'pg_catalog.date', 'pg_catalog.timestamp',
                                               'pg_catalog.timestamptz', 'pg_catalog.uuid']::pg_catalog.regtype[]::pg_catalog.oid[])
                         OR atttypid = 'pg_catalog.text'::pg_catalog.regtype::pg_catalog.oid
                            AND (SELECT co.collisdeterministic FROM pg_catalog.pg_collation co WHERE co.oid = attcollation)
                    THEN '(e.%1$I IS NULL AND v.%1$I IS NOT NULL OR e.%1$I IS NOT NULL AND v.%1$I IS NULL OR e.%1$I OPERATOR(pg_catalog.<>) v.%1$I)'
                    ELSE 'NOT pg_catalog.record_image_eq(ROW(e.%1$I), ROW(v.%1$I))' END, name), place), ', ' ORDER BY attnum)
               FILTER (WHERE is_compared), 'NULL') AS differing_flags,
           pg_catalog.format('ARRAY[%s]::pg_catalog.int8[]', pg_catalog.string_agg(
               pg_catalog.format('pg_catalog.count(*) FILTER (WHERE d%s)', place), ', ' ORDER BY attnum) FILTER (WHERE is_compared)) AS differing_counts
    FROM compared
), of_elements AS (
    SELECT pg_catalog.count(expression) > 0 AS is_computed,
           (pg_catalog.array_agg(narrow ORDER BY place) FILTER (WHERE narrow IS NOT NULL))[1] AS narrow,
           pg_catalog.string_agg('t' || of_alias, ', ' ORDER BY place) AS partition_by,
           pg_catalog.string_agg(CASE WHEN expression IS NULL THEN 't' || of_alias
                                      ELSE pg_catalog.format('t%s AS "dupe-audit k%s"', of_alias, ord) END, ', ' ORDER BY ord) AS columns,
           coalesce(pg_catalog.string_agg(pg_catalog.format('coalesce(pg_catalog.pg_column_size(t%s), 0)', of_alias), ' + ' ORDER BY place)
                    FILTER (WHERE attlen IS NULL OR attlen < 0), '0')
               || coalesce(' + ' || (pg_catalog.sum(attlen) FILTER (WHERE attlen > 0))::pg_catalog.text, '') AS t_key_width,
           pg_catalog.string_agg('e' || of_alias, ', ' ORDER BY ord) AS e_values,
           pg_catalog.string_agg('v' || of_alias, ', ' ORDER BY ord) AS v_values,
           -- IS DISTINCT FROM NULL, because a composite value with a NULL in it is neither NULL nor NOT NULL, and an index compares it.
           pg_catalog.string_agg(pg_catalog.format('t%s IS DISTINCT FROM NULL', of_alias), ' AND ' ORDER BY ord) FILTER (WHERE excludes_null) AS t_not_null,
           pg_catalog.string_agg(pg_catalog.format('v%s IS DISTINCT FROM NULL', of_alias), ' AND ' ORDER BY ord) FILTER (WHERE excludes_null) AS v_not_null,
           pg_catalog.string_agg(pg_catalog.format('v%s AS k%s', of_alias, ord), ', ' ORDER BY ord) AS v_key_as_k,
           -- A deleted table has no LATERAL subquery, so the values of its rows are computed by scalar ones.
           pg_catalog.string_agg(CASE WHEN expression IS NULL THEN 't' || of_alias
                                      ELSE pg_catalog.format('(SELECT %s FROM (SELECT t.*) AS %I)', value, relname) END, ', ' ORDER BY ord) AS t_values,
           pg_catalog.string_agg(pg_catalog.format('j.k%s', ord), ', ' ORDER BY ord) AS j_values,
           pg_catalog.string_agg(pg_catalog.format('%s AS k%s', value, ord), ', ' ORDER BY ord) FILTER (WHERE expression IS NOT NULL) AS values,
           pg_catalog.string_agg(pg_catalog.format(', (%s) AS "dupe-audit k%s"', expression, ord), '' ORDER BY ord) FILTER (WHERE expression IS NOT NULL) AS expressions,
           pg_catalog.string_agg(pg_catalog.format(', %s AS "dupe-audit k%s"', value, ord), '' ORDER BY ord) FILTER (WHERE expression IS NOT NULL) AS guarded,
           pg_catalog.string_agg(pg_catalog.format(', t."dupe-audit k%1$s" AS k%1$s', ord), '' ORDER BY ord) FILTER (WHERE expression IS NOT NULL) AS as_k
    FROM element
), of_identity AS (
    SELECT pg_catalog.string_agg(pg_catalog.format('t.%I AS e%s', name, ord), ', ' ORDER BY ord) AS t_identity_as_e,
           pg_catalog.string_agg(pg_catalog.format('pg_catalog.first_value(t.%I) OVER w AS s%s', name, ord), ', ' ORDER BY ord) AS t_first_identity_as_s,
           pg_catalog.string_agg(pg_catalog.format('e%s', ord), ', ' ORDER BY ord) AS e_identity,
           pg_catalog.string_agg(pg_catalog.format('s%s', ord), ', ' ORDER BY ord) AS s_identity,
           pg_catalog.string_agg(pg_catalog.format('deleted.dupe_audit_survivor_%s', ord), ', ' ORDER BY ord) AS deleted_survivor,
           pg_catalog.string_agg(pg_catalog.format('changed.dupe_audit_survivor_%s', ord), ', ' ORDER BY ord) AS changed_survivor,
           pg_catalog.string_agg(pg_catalog.format('v.%I AS dupe_audit_survivor_%s', name, ord), ', ' ORDER BY ord) AS v_identity_as_survivor,
           pg_catalog.string_agg(pg_catalog.format('j.dupe_audit_survivor_%s', ord), ', ' ORDER BY ord) AS j_survivor,
           pg_catalog.string_agg(pg_catalog.format('t.%I AS dupe_audit_survivor_%s', name, ord), ', ' ORDER BY ord) AS t_identity_as_survivor,
           pg_catalog.string_agg(pg_catalog.format('dupe_audit_survivor_%s', ord), ', ' ORDER BY ord) AS survivor_columns,
           pg_catalog.string_agg(pg_catalog.format('t.%I', name), ', ' ORDER BY ord) FILTER (WHERE orderable) AS t_identity_order,
           pg_catalog.string_agg(pg_catalog.format('t.%I %s w.e%s', name, eq, ord), ' AND ' ORDER BY ord) AS t_is_w,
           pg_catalog.string_agg(pg_catalog.format('e.%I %s s.e%s', name, eq, ord), ' AND ' ORDER BY ord) AS e_is_extra,
           pg_catalog.string_agg(pg_catalog.format('t.%I %s a.%1$I', name, eq), ' AND ' ORDER BY ord) FILTER (WHERE is_key) AS t_is_a,
           pg_catalog.string_agg(pg_catalog.format('s.s%s %s amended.dupe_audit_survivor_%1$s', ord, eq), ' AND ' ORDER BY ord) AS s_has_survivor_amended,
           pg_catalog.string_agg(pg_catalog.format('%s.%I %s dupe_audit_extra.e%s', rel.alias, name, eq, ord), ' AND ' ORDER BY ord) AS is_staged,
           pg_catalog.string_agg(pg_catalog.format('v.%I %s s.s%s', name, eq, ord), ' AND ' ORDER BY ord) AS v_is_survivor,
           pg_catalog.string_agg('t.' || pg_catalog.quote_ident(name) || CASE rel.keep WHEN 'last' THEN ' DESC' ELSE ' ASC' END || ' NULLS LAST',
                                 ', ' ORDER BY ord) FILTER (WHERE orderable) AS order_by
    FROM identity CROSS JOIN rel
), fk AS (
    SELECT con.oid, pg_catalog.format('%I.%I', cn.nspname, cc.relname) AS child,
           (SELECT pg_catalog.string_agg(
                       pg_catalog.format('e.%I%s OPERATOR(%s) c.%I', pa.attname,
                           -- Where the columns have different collations, the looser one is used, so that no child is missed.
                           (SELECT pg_catalog.format(' COLLATE %I.%I', co_ns.nspname, co.collname)
                            FROM pg_catalog.pg_collation co
                            JOIN pg_catalog.pg_namespace co_ns ON co_ns.oid = co.collnamespace
                            WHERE pa.attcollation <> ca.attcollation AND co.oid IN (pa.attcollation, ca.attcollation)
                            ORDER BY co.collisdeterministic, co.oid = pa.attcollation
                            LIMIT 1),
                           (SELECT pg_catalog.format('%I.%s', op_ns.nspname, op.oprname)
                            FROM pg_catalog.pg_operator op JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace WHERE op.oid = u.eq),
                           ca.attname), ' AND ' ORDER BY u.ord)
            FROM unnest(con.conkey, con.confkey, con.conpfeqop)
                WITH ORDINALITY AS u(child_att, parent_att, eq, ord)
            JOIN pg_catalog.pg_attribute ca ON ca.attrelid = con.conrelid AND ca.attnum = u.child_att
            JOIN pg_catalog.pg_attribute pa ON pa.attrelid = con.confrelid AND pa.attnum = u.parent_att) AS condition
    FROM pg_catalog.pg_constraint con
    JOIN pg_catalog.pg_class cc ON cc.oid = con.conrelid
    JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace
    WHERE con.confrelid = (SELECT rel.oid FROM rel) AND con.contype = 'f'
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
    col.columns, col.t_columns, col.deleted_columns,
    pg_catalog.md5(col.described || (SELECT coalesce(pg_catalog.string_agg(con.oid::pg_catalog.text, ',' ORDER BY con.oid), '')
                                     FROM pg_catalog.pg_constraint con WHERE con.confrelid = rel.oid AND con.contype = 'f')) AS columns_digest,
    element.partition_by,
    -- Where rows are read: the table itself, or a subquery that computes the expressions of the key.
    CASE WHEN element.is_computed THEN source.of_predicate ELSE source.of_table END AS t_source,
    -- A computed value has no statistics: the planner would group the rows in each worker and again, at 1.4 times the cost (measured).
    CASE WHEN element.is_computed THEN pg_catalog.format('(SELECT t.ctid, %s FROM %s WHERE %s ORDER BY %s LIMIT ALL) AS t%s', element.columns,
                                                         source.of_predicate, key.countable, element.partition_by, source.of_values)
         ELSE source.of_table END AS t_source_by_key,
    CASE WHEN key.t <> '' THEN source.of_all_rows ELSE source.of_table END AS t_source_of_all_rows,
    element.t_key_width, col.e_bytes,
    CASE WHEN rel.predicate IS NULL THEN 'true' ELSE 't_key.met' END AS t_in_predicate,
    key.countable AS t_countable,
    -- For rows t whose value of one column repeats. Such values are few, and sorting one integer per row takes three fifths
    -- of the time of sorting keys (measured). The other columns decide about these rows only.
    CASE WHEN element.is_computed OR element.narrow IS NULL THEN 'true'
         ELSE pg_catalog.format('%1$s OPERATOR(pg_catalog.=) ANY (WITH repeated AS MATERIALIZED ('
                                -- The planner expects this condition to select one group in 200; with > 1, one in 3.
                                'SELECT %1$s AS value FROM %2$s WHERE %3$s GROUP BY 1 HAVING least(pg_catalog.count(*), 2) = 2) '
                                'SELECT repeated.value FROM repeated)', element.narrow, source.of_table, key.countable) END AS t_can_repeat,
    key.t AS t_key_values, key.e AS e_key_values, key.v AS v_key_values,
    -- record_eq compares as the default btree operator class does, whatever schema its operators are in (H28-H34).
    -- It treats two NULLs as equal; where NULLs are distinct, t_countable has excluded such rows.
    pg_catalog.format('pg_catalog.record_eq(ROW(%s), ROW(%s)) AND %s AND %s', element.e_values, element.v_values,
        CASE WHEN rel.predicate IS NULL THEN 'true' ELSE 'e_key.met' END,
        pg_catalog.concat_ws(' AND ', CASE WHEN rel.predicate IS NOT NULL THEN 'v_key.met' END,
                             coalesce(element.v_not_null, CASE WHEN rel.predicate IS NULL THEN 'true' END))) AS same_key,
    element.v_key_as_k,
    pg_catalog.format('pg_catalog.record_eq(ROW(%s), ROW(%s))%s', element.t_values, element.j_values,
        CASE WHEN rel.predicate IS NOT NULL
             THEN pg_catalog.format(' AND (SELECT (%s) IS TRUE FROM (SELECT t.*) AS %I)', rel.predicate, rel.relname) ELSE '' END) AS t_still_key,
    col.same_data, col.compared_names, col.differing_flags, col.differing_counts,
    CASE rel.divergent WHEN 'archive' THEN 'false' ELSE 'true' END AS refuse_divergent,
    pg_catalog.concat_ws(', ',
        (SELECT pg_catalog.string_agg(
                    coalesce('t.' || pg_catalog.quote_ident(o.name) || CASE rel.keep WHEN 'last' THEN ' DESC' ELSE ' ASC' END || ' NULLS LAST',
                             pg_catalog.concat_ws(' ', pg_catalog.format('t_order.o%s', o.ord), nullif(o.direction, ''))),
                    ', ' ORDER BY o.ord)
         FROM unnest(rel.order_by, rel.directions) WITH ORDINALITY AS o(name, direction, ord)), identity.order_by) AS order_by,
    coalesce((SELECT pg_catalog.format(' CROSS JOIN LATERAL (SELECT %s FROM (SELECT %s) AS %I) AS t_order',
                         pg_catalog.string_agg(pg_catalog.format('(%s) AS o%s', o.expression, o.ord), ', ' ORDER BY o.ord),
                         -- Not t.*, which can also contain the computed values of the key.
                         col.t_columns, rel.relname)
              FROM pg_catalog.unnest(rel.order_expressions) WITH ORDINALITY AS o(expression, ord)
              WHERE o.expression IS NOT NULL HAVING pg_catalog.count(*) > 0), '') AS t_order_values,
    identity.t_identity_as_e, identity.t_first_identity_as_s, identity.e_identity, identity.s_identity,
    identity.deleted_survivor, identity.changed_survivor,
    CASE WHEN rel.divides THEN 'NOT s.amend' ELSE 'true' END AS s_archives,
    CASE WHEN rel.divides THEN 's.amend' ELSE 'true' END AS s_amends,
    -- Where survivors take over values, the archive has the place of each extra in the staged list.
    CASE WHEN rel.numbered THEN ', l.n' ELSE '' END AS and_l_n,
    -- Their survivors also change.
    CASE WHEN rel.numbered THEN 'UPDATE' ELSE 'SHARE' END AS survivor_strength,
    CASE WHEN rel.numbered THEN ', j.n AS dupe_audit_n' ELSE '' END AS and_j_n,
    CASE WHEN rel.numbered THEN ', dupe_audit_n' ELSE '' END AS and_archived_n,
    CASE WHEN rel.numbered THEN ', deleted.dupe_audit_n' ELSE '' END AS and_deleted_n,
    identity.v_identity_as_survivor, identity.j_survivor, identity.t_identity_as_survivor, identity.survivor_columns,
    identity.t_identity_order, identity.t_is_w, identity.e_is_extra, identity.t_is_a, identity.s_has_survivor_amended,
    identity.is_staged, identity.v_is_survivor,
    -- Looked up per row: NOT EXISTS becomes an anti-join, which read the child's whole index in each batch (measured).
    coalesce((SELECT pg_catalog.string_agg(
                         pg_catalog.format('(SELECT true FROM %s c WHERE %s LIMIT 1) IS NULL', child, condition), ' AND ' ORDER BY oid)
              FROM fk), 'true') AS e_unreferenced
FROM rel CROSS JOIN of_columns AS col CROSS JOIN of_elements AS element CROSS JOIN of_identity AS identity
CROSS JOIN LATERAL (
    -- The row is given the table's name, so that an expression can use it; the planner inlines the whole.
    SELECT CASE WHEN is_read THEN pg_catalog.format(query, read, 't', rel.relname) ELSE '' END AS t,
           CASE WHEN is_read THEN pg_catalog.format(query, read, 'e', rel.relname) ELSE '' END AS e,
           CASE WHEN is_read THEN pg_catalog.format(query, read, 'v', rel.relname) ELSE '' END AS v,
           pg_catalog.concat_ws(' AND ', CASE WHEN rel.predicate IS NOT NULL THEN 't_key.met' END,
                                coalesce(element.t_not_null, CASE WHEN rel.predicate IS NULL THEN 'true' END)) AS countable
    FROM (SELECT rel.predicate IS NOT NULL OR element.is_computed AS is_read,
                 pg_catalog.concat_ws(', ', '(' || rel.predicate || ') IS TRUE AS met', element.values) AS read,
                 ' CROSS JOIN LATERAL (SELECT %1$s FROM (SELECT %2$s.*) AS %3$I) AS %2$s_key' AS query) AS values
) AS key
CROSS JOIN LATERAL (
    SELECT pg_catalog.format('ONLY %s t%s', rel.source, key.t) AS of_table,
           -- A table can have columns whose names start with dupe_audit_, so computed values have other names.
           -- LIMIT ALL keeps the planner from inlining a subquery, so that each value is computed once per row, where the row is read.
           -- Inlined, it would be computed for each reference: to filter, to sort, to hash. OFFSET 0 would prevent a parallel scan.
           pg_catalog.concat('(SELECT ', part.columns, element.expressions, part.of_table, ' WHERE (' || rel.predicate || ')',
                             ' LIMIT ALL) AS t', part.of_values) AS of_predicate,
           pg_catalog.concat('(SELECT ', part.columns, ', (' || rel.predicate || ') IS TRUE AS "dupe-audit met"', element.guarded, part.of_table,
                             ' LIMIT ALL) AS t CROSS JOIN LATERAL (SELECT ',
                             CASE WHEN rel.predicate IS NULL THEN 'true' ELSE 't."dupe-audit met"' END, ' AS met', element.as_k, ') AS t_key')
               AS of_all_rows,
           part.of_values
    FROM (SELECT pg_catalog.format('%1$I.*, %1$I.ctid, %1$I.xmin', rel.relname) AS columns,
                 pg_catalog.format(' FROM ONLY %s AS %I', rel.source, rel.relname) AS of_table,
                 pg_catalog.concat(' CROSS JOIN LATERAL (SELECT true AS met', element.as_k, ') AS t_key') AS of_values) AS part
) AS source
