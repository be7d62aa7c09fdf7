-- Purpose: write, for each unique index of a child that moving its rows could violate, the query that counts the colliding rows.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- The hole "pairs" is the text of a query for e_tid and s_tid: the places of each extra and its survivor.
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
    SELECT fk.conrelid, fk.number, u.ord, u.child_att, pa.attname AS parent_column, ca.attname AS child_column,
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
), moves AS (
    SELECT fk.conrelid, fk.child, fk.source,
           pg_catalog.string_agg(pg_catalog.format(
               'to_%1$s AS MATERIALIZED (SELECT c.tableoid AS relid, c.ctid AS tid, %2$s FROM pair JOIN ONLY %3$s e ON e.ctid = pair.e_tid '
               'JOIN ONLY %3$s v ON v.ctid = pair.s_tid JOIN %4$s c ON %5$s)',
               fk.number, text.v_as_s, parent.name, fk.source, text.condition),
               ', ' ORDER BY fk.number) AS ctes,
           pg_catalog.string_agg(pg_catalog.format('LEFT JOIN to_%1$s ON to_%1$s.tid = c.ctid AND to_%1$s.relid = c.tableoid', fk.number),
               ' ' ORDER BY fk.number) AS joins,
           pg_catalog.string_agg(pg_catalog.format('to_%s.tid IS NOT NULL', fk.number), ' OR ' ORDER BY fk.number) AS moved
    FROM fk
    CROSS JOIN LATERAL (
        SELECT pg_catalog.string_agg(pg_catalog.format('v.%I AS s%s', part.parent_column, part.ord), ', ' ORDER BY part.ord) AS v_as_s,
               pg_catalog.string_agg(pg_catalog.format('e.%I%s %s c.%I', part.parent_column, part.clause, part.eq, part.child_column),
                                      ' AND ' ORDER BY part.ord) AS condition
        FROM part WHERE part.conrelid = fk.conrelid AND part.number = fk.number
    ) AS text
    CROSS JOIN (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.oid = {relid}::pg_catalog.oid) AS parent
    GROUP BY fk.conrelid, fk.child, fk.source
)
SELECT m.child, ic.relname::pg_catalog.text AS index,
       pg_catalog.format(
           'WITH pair AS MATERIALIZED (%s), %s SELECT coalesce(pg_catalog.sum(size - 1), 0)::pg_catalog.int8 FROM ('
           'SELECT pg_catalog.count(*) AS size FROM (SELECT %s, dupe_audit_moved FROM ('
           'SELECT %s, %s AS dupe_audit_moved FROM %s c %s) AS child%s) AS entry '
           'WHERE %s GROUP BY %s HAVING pg_catalog.count(*) > 1 AND pg_catalog.bool_or(dupe_audit_moved)) AS collision',
           {pairs}::pg_catalog.text, m.ctes, entry.keys, after.columns, m.moved, m.source, m.joins,
           ' WHERE ' || pg_catalog.pg_get_expr(i.indpred, i.indrelid), entry.comparable, entry.names) AS query
FROM moves m
JOIN pg_catalog.pg_index i ON i.indrelid = m.conrelid AND i.indisunique AND i.indisready
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
CROSS JOIN LATERAL (
    SELECT pg_catalog.string_agg(pg_catalog.format('%s%s AS k%s', pg_catalog.pg_get_indexdef(i.indexrelid, k.ord::pg_catalog.int4, false),
                   (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, co.collname) FROM pg_catalog.pg_collation co
                    JOIN pg_catalog.pg_namespace n ON n.oid = co.collnamespace WHERE co.oid = k.coll), k.ord), ', ' ORDER BY k.ord) AS keys,
           pg_catalog.string_agg(pg_catalog.format('k%s', k.ord), ', ' ORDER BY k.ord) AS names,
           CASE WHEN coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'::pg_catalog.text)::pg_catalog.bool, false) THEN 'true'
                ELSE pg_catalog.string_agg(pg_catalog.format('k%s IS NOT NULL', k.ord), ' AND ' ORDER BY k.ord) END AS comparable
    FROM pg_catalog.unnest(i.indcollation::pg_catalog.oid[]) WITH ORDINALITY AS k(coll, ord)
    WHERE k.ord <= i.indnkeyatts
) AS entry
CROSS JOIN LATERAL (
    SELECT pg_catalog.string_agg(
               coalesce('CASE ' || substituted.cases || pg_catalog.format(' ELSE c.%1$I END AS %1$I', a.attname),
                        pg_catalog.format('c.%I', a.attname)), ', ' ORDER BY a.attnum) AS columns
    FROM pg_catalog.pg_attribute a
    CROSS JOIN LATERAL (
        -- If foreign keys share a column, the one that is moved last decides its value.
        SELECT pg_catalog.string_agg(pg_catalog.format('WHEN to_%1$s.tid IS NOT NULL THEN to_%1$s.s%2$s::%3$s', part.number, part.ord,
                                     pg_catalog.format_type(a.atttypid, a.atttypmod)), ' ' ORDER BY part.number DESC) AS cases
        FROM part WHERE part.conrelid = m.conrelid AND part.child_att = a.attnum
    ) AS substituted
    WHERE a.attrelid = m.conrelid AND a.attnum > 0 AND NOT a.attisdropped
) AS after
WHERE i.indpred IS NOT NULL OR i.indexprs IS NOT NULL
   OR EXISTS (SELECT FROM fk
              WHERE fk.conrelid = m.conrelid
                AND fk.conkey OPERATOR(pg_catalog.&&) (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])
ORDER BY m.child, ic.relname
