-- Purpose: write, for each child, the query that counts per unique index the rows which would collide once its rows have moved.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- The hole "pairs" is the text of a query for e_tid and s_tid: the places of each extra and its survivor.
-- A query scans the child once for the rows that move, and once per index for the rows that have their entries already.
WITH fk AS (
    SELECT con.conrelid, con.conkey, con.confkey, con.conpfeqop, con.confrelid,
           pg_catalog.row_number() OVER (PARTITION BY con.conrelid ORDER BY con.oid) AS number,
           CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || pg_catalog.format('%I.%I', n.nspname, c.relname) AS source,
           pg_catalog.format('%I.%I', n.nspname, c.relname) AS child
    FROM pg_catalog.pg_constraint con
    JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE con.confrelid = {relid}::pg_catalog.oid AND con.contype = 'f' AND con.conrelid <> con.confrelid
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up
                      WHERE up.oid = con.conparentid AND up.confrelid = con.confrelid)
), part AS (
    SELECT fk.conrelid, fk.number, u.ord, u.child_att, u.parent_att, pa.attname AS parent_column, ca.attname AS child_column,
           pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS eq, co.clause
    FROM fk
    CROSS JOIN LATERAL unnest(fk.conkey, fk.confkey, fk.conpfeqop) WITH ORDINALITY AS u(child_att, parent_att, eq, ord)
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid = fk.conrelid AND ca.attnum = u.child_att
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid = fk.confrelid AND pa.attnum = u.parent_att
    JOIN pg_catalog.pg_operator o ON o.oid = u.eq
    JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
    LEFT JOIN LATERAL (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, co.collname) AS clause
                       FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace n ON n.oid = co.collnamespace
                       WHERE pa.attcollation <> ca.attcollation AND co.oid IN (pa.attcollation, ca.attcollation)
                       ORDER BY co.collisdeterministic, co.oid = pa.attcollation
                       LIMIT 1) AS co ON true
), link AS (
    -- LIMIT makes the planner look rows up by position; it expects a third of the table to be extras, and would scan it twice.
    SELECT pg_catalog.format(
               'link AS MATERIALIZED (SELECT true AS moves, %1$s FROM pair '
               'CROSS JOIN LATERAL (SELECT e.* FROM ONLY %2$s e WHERE e.ctid = pair.e_tid LIMIT 1) AS e '
               'CROSS JOIN LATERAL (SELECT v.* FROM ONLY %2$s v WHERE v.ctid = pair.s_tid LIMIT 1) AS v)',
               pg_catalog.string_agg(pg_catalog.format('e.%1$I AS e%2$s, v.%1$I AS s%2$s', used.name, used.attnum), ', ' ORDER BY used.attnum),
               parent.name) AS cte
    FROM (SELECT DISTINCT part.parent_att AS attnum, part.parent_column AS name FROM part) AS used
    CROSS JOIN (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.oid = {relid}::pg_catalog.oid) AS parent
    GROUP BY parent.name
), moves AS (
    SELECT fk.conrelid, fk.child, fk.source,
           pg_catalog.format(
               'moved AS MATERIALIZED (SELECT c.tableoid AS dupe_audit_relid, c.ctid AS dupe_audit_tid, %s FROM %s c %s WHERE %s)',
               after.columns, fk.source,
               pg_catalog.string_agg(pg_catalog.format('LEFT JOIN link to_%s ON %s', fk.number, text.condition), ' ' ORDER BY fk.number),
               pg_catalog.string_agg(pg_catalog.format('to_%s.moves', fk.number), ' OR ' ORDER BY fk.number)) AS cte
    FROM fk
    CROSS JOIN LATERAL (
        SELECT pg_catalog.string_agg(pg_catalog.format('to_%s.e%s%s %s c.%I', part.number, part.parent_att, part.clause, part.eq, part.child_column),
                                     ' AND ' ORDER BY part.ord) AS condition
        FROM part WHERE part.conrelid = fk.conrelid AND part.number = fk.number
    ) AS text
    CROSS JOIN LATERAL (
        SELECT pg_catalog.string_agg(
                   coalesce('CASE ' || substituted.cases || pg_catalog.format(' ELSE c.%1$I END AS %1$I', a.attname),
                            pg_catalog.format('c.%I', a.attname)), ', ' ORDER BY a.attnum) AS columns
        FROM pg_catalog.pg_attribute a
        CROSS JOIN LATERAL (
            -- If foreign keys share a column, the one that is moved last decides its value.
            SELECT pg_catalog.string_agg(pg_catalog.format('WHEN to_%1$s.moves THEN to_%1$s.s%2$s::%3$s', part.number, part.parent_att,
                                         pg_catalog.format_type(a.atttypid, a.atttypmod)), ' ' ORDER BY part.number DESC) AS cases
            FROM part WHERE part.conrelid = fk.conrelid AND part.child_att = a.attnum
        ) AS substituted
        WHERE a.attrelid = fk.conrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS after
    GROUP BY fk.conrelid, fk.child, fk.source, after.columns
), threatened AS (
    SELECT m.conrelid, ic.relname AS name, entry.keys, entry.names, entry.comparable, entry.same,
           ' WHERE ' || pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
           pg_catalog.row_number() OVER (PARTITION BY m.conrelid ORDER BY ic.relname) AS number
    FROM moves m
    JOIN pg_catalog.pg_index i ON i.indrelid = m.conrelid AND i.indisunique AND i.indisready
    JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    CROSS JOIN LATERAL (
        SELECT coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false) AS nulls_not_distinct
    ) AS rule
    CROSS JOIN LATERAL (
        SELECT pg_catalog.string_agg(pg_catalog.format('%s%s AS k%s', pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::pg_catalog.int4, false),
                       (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, co.collname) FROM pg_catalog.pg_collation co
                        JOIN pg_catalog.pg_namespace n ON n.oid = co.collnamespace WHERE co.oid = k.coll), k.ord), ', ' ORDER BY k.ord) AS keys,
               pg_catalog.string_agg(pg_catalog.format('k%s', k.ord), ', ' ORDER BY k.ord) AS names,
               CASE WHEN rule.nulls_not_distinct THEN 'true'
                    ELSE pg_catalog.string_agg(pg_catalog.format('k%s IS NOT NULL', k.ord), ' AND ' ORDER BY k.ord) END AS comparable,
               -- The equality of GROUP BY, for elements on which a hash join can compare them; the groups decide about the others.
               pg_catalog.string_agg(pg_catalog.format('m.k%1$s %2$s entry.k%1$s', k.ord, equal.operator), ' AND ' ORDER BY k.ord)
                   FILTER (WHERE equal.operator IS NOT NULL) AS same
        FROM unnest(i.indcollation::pg_catalog.oid[], i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(coll, attnum, ord)
        LEFT JOIN LATERAL (
            SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS operator
            FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            JOIN pg_catalog.pg_opclass oc ON oc.opcdefault
                AND oc.opcmethod = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'btree')
                AND oc.opcintype = CASE
                    WHEN t.typtype = 'e' THEN 'pg_catalog.anyenum'::pg_catalog.regtype::pg_catalog.oid
                    WHEN 'pg_catalog.varchar'::pg_catalog.regtype::pg_catalog.oid IN (t.oid, t.typbasetype) THEN 'pg_catalog.text'::pg_catalog.regtype::pg_catalog.oid
                    WHEN t.typtype = 'd' THEN t.typbasetype
                    ELSE t.oid END
            JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
                AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
            JOIN pg_catalog.pg_operator o ON o.oid = ao.amopopr AND o.oprcanhash
            JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
            WHERE a.attrelid = i.indexrelid AND a.attnum = k.ord
              AND (NOT rule.nulls_not_distinct
                   OR EXISTS (SELECT FROM pg_catalog.pg_attribute of_child
                              WHERE of_child.attrelid = i.indrelid AND of_child.attnum = k.attnum AND of_child.attnotnull))
        ) AS equal ON true
        WHERE k.ord <= i.indnkeyatts
    ) AS entry
    WHERE i.indpred IS NOT NULL OR i.indexprs IS NOT NULL
       OR EXISTS (SELECT FROM fk
                  WHERE fk.conrelid = m.conrelid
                    AND fk.conkey OPERATOR(pg_catalog.&&) (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])
)
SELECT m.child,
       pg_catalog.format('WITH pair AS MATERIALIZED (%s), %s, %s, %s SELECT * FROM (VALUES %s) AS counted(name, rows)',
           {pairs}::pg_catalog.text, link.cte, m.cte,
           pg_catalog.string_agg(pg_catalog.format(
               'moved_%1$s AS MATERIALIZED (SELECT * FROM (SELECT %2$s FROM moved AS child%3$s) AS entry WHERE %4$s), '
               'other_%1$s AS MATERIALIZED (SELECT * FROM (SELECT %2$s, dupe_audit_relid, dupe_audit_tid FROM ('
               'SELECT c.tableoid AS dupe_audit_relid, c.ctid AS dupe_audit_tid, c.* FROM %5$s c) AS child%3$s) AS entry WHERE %4$s%6$s)',
               t.number, t.keys, t.predicate, t.comparable, m.source,
               CASE WHEN t.same IS NOT NULL THEN pg_catalog.format(' AND EXISTS (SELECT FROM moved_%s m WHERE %s)', t.number, t.same) END),
               ', ' ORDER BY t.number),
           pg_catalog.string_agg(pg_catalog.format(
               '(%1$L, (SELECT coalesce(pg_catalog.sum(size - 1), 0)::pg_catalog.int8 FROM (SELECT pg_catalog.count(*) AS size FROM ('
               'SELECT %2$s, true AS moves FROM moved_%3$s UNION ALL SELECT %2$s, false FROM other_%3$s o WHERE NOT EXISTS ('
               'SELECT FROM moved m WHERE m.dupe_audit_tid = o.dupe_audit_tid AND m.dupe_audit_relid = o.dupe_audit_relid)) AS entry '
               'GROUP BY %2$s HAVING pg_catalog.count(*) > 1 AND pg_catalog.bool_or(moves)) AS collision))',
               t.name, t.names, t.number), ', ' ORDER BY t.number)) AS query
FROM moves m
JOIN threatened t ON t.conrelid = m.conrelid
CROSS JOIN link
GROUP BY m.child, m.cte, m.source, link.cte
ORDER BY m.child
