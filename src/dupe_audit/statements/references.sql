-- Purpose: list the foreign keys to the table, with every piece of SQL that counts, moves and returns children.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH me AS (
    SELECT r.rolsuper OR r.rolbypassrls AS sees_all FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER
), fk AS (
    SELECT con.*, cn.nspname, cc.relname, cc.relkind, cc.relreplident, cc.relrowsecurity, cc.relforcerowsecurity, cc.relowner,
           pg_catalog.format('%I.%I', cn.nspname, cc.relname) AS child
    FROM pg_catalog.pg_constraint con
    JOIN pg_catalog.pg_class cc ON cc.oid = con.conrelid
    JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace
    WHERE con.confrelid = {relid}::pg_catalog.oid AND con.contype = 'f'
      -- A partitioned child has a constraint, and so has each of its partitions; the former covers all rows.
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up
                      WHERE up.oid = con.conparentid AND up.confrelid = con.confrelid)
)
SELECT fk.child, fk.conname::pg_catalog.text AS constraint_name, fk.oid AS constraint_oid, fk.conrelid AS child_relid,
       CASE fk.confdeltype WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE'
                           WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END AS on_delete,
       -- A foreign key covers the rows of partitions, but not those of tables that inherit.
       CASE fk.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || fk.child AS source,
       -- What was archived from a leaf is found through the root.
       (SELECT CASE pc.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || pg_catalog.format('%I.%I', pn.nspname, pc.relname)
        FROM pg_catalog.pg_class pc JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace WHERE pc.oid = fk.confrelid) AS referenced,
       CASE WHEN fk.conrelid = fk.confrelid THEN 'the table references itself'
            WHEN pk.identity IS NULL THEN 'it has no primary key, so a downgrade could not find its rows again'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = fk.conrelid AND a.attnum = ANY (fk.conkey)
                         AND (a.attgenerated <> '' OR a.attidentity = 'a'))
                THEN 'only PostgreSQL can set its referencing column'
            -- A child can reference several rows at once (PostgreSQL 18).
            WHEN coalesce((pg_catalog.to_jsonb(fk) ->> 'conperiod'::pg_catalog.text)::pg_catalog.bool, false) THEN 'it references a period'
            WHEN fk.relreplident = 'n' AND EXISTS (SELECT FROM pg_catalog.pg_publication_tables pt
                                                   WHERE pt.schemaname = fk.nspname AND pt.tablename = fk.relname)
                THEN 'it is published without a replica identity'
            WHEN fk.relrowsecurity AND NOT me.sees_all
                 AND (fk.relforcerowsecurity OR NOT pg_catalog.pg_has_role(CURRENT_USER, fk.relowner, 'USAGE'))
                THEN 'row security on it applies to this role'
            WHEN NOT (pg_catalog.has_table_privilege(fk.conrelid, 'SELECT') AND pg_catalog.has_table_privilege(fk.conrelid, 'UPDATE'))
                THEN 'this role may not SELECT and UPDATE it'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite r
                         WHERE r.ev_class = fk.conrelid AND r.ev_type = '2' AND r.ev_enabled <> 'D')
                THEN 'a rule rewrites its updates'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint x
                         WHERE x.conrelid = fk.conrelid AND x.contype = 'x' AND x.conkey OPERATOR(pg_catalog.&&) fk.conkey)
                THEN 'an exclusion constraint covers the columns that would change'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint g
                         WHERE g.confrelid = fk.conrelid AND g.contype = 'f' AND g.confkey OPERATOR(pg_catalog.&&) fk.conkey
                           AND g.confupdtype <> 'c')
                THEN 'another table references the columns that would change, without ON UPDATE CASCADE'
       END AS cannot,
       CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_index i
                         WHERE i.indrelid = fk.conrelid AND i.indisunique AND i.indkey::pg_catalog.int2[] OPERATOR(pg_catalog.&&) fk.conkey)
            THEN 'UPDATE' ELSE 'NO KEY UPDATE' END AS strength,
       pk.identity, fk.conkey AS columns,
       part.*, pk.c_as_i, pk.i_names, pk.c_is_i
FROM fk
CROSS JOIN me
CROSS JOIN LATERAL (
    SELECT pg_catalog.string_agg(pg_catalog.format('e.%I%s %s c.%I', pa.attname, co.clause, op.eq, ca.attname),
                                 ' AND ' ORDER BY u.ord) AS condition,
           pg_catalog.string_agg(pg_catalog.format('e.%I%s %s r.o%s', pa.attname, co.clause, op.eq, u.ord),
                                 ' AND ' ORDER BY u.ord) AS e_is_o,
           pg_catalog.string_agg(pg_catalog.format('v.%I IS NOT NULL', pa.attname), ' AND ' ORDER BY u.ord) AS v_not_null,
           pg_catalog.string_agg(pg_catalog.format('v.%I AS s%s', pa.attname, u.ord), ', ' ORDER BY u.ord) AS v_as_s,
           pg_catalog.string_agg(pg_catalog.format('c.%I AS o%s', ca.attname, u.ord), ', ' ORDER BY u.ord) AS c_as_o,
           pg_catalog.string_agg(pg_catalog.format('c.%I AS s%s', ca.attname, u.ord), ', ' ORDER BY u.ord) AS c_as_s,
           pg_catalog.string_agg(pg_catalog.format('m.o%s', u.ord), ', ' ORDER BY u.ord) AS m_o,
           pg_catalog.string_agg(pg_catalog.format('%I = m.s%s', ca.attname, u.ord), ', ' ORDER BY u.ord) AS set_s,
           pg_catalog.string_agg(pg_catalog.format('%I = r.o%s', ca.attname, u.ord), ', ' ORDER BY u.ord) AS set_o,
           pg_catalog.string_agg(pg_catalog.format('o%s', u.ord), ', ' ORDER BY u.ord) AS o_names,
           pg_catalog.string_agg(pg_catalog.format('s%s', u.ord), ', ' ORDER BY u.ord) AS s_names,
           pg_catalog.format('pg_catalog.record_eq(ROW(%s), ROW(%s))',
               pg_catalog.string_agg(pg_catalog.format('c.%I', ca.attname), ', ' ORDER BY u.ord),
               pg_catalog.string_agg(pg_catalog.format('r.s%s', u.ord), ', ' ORDER BY u.ord)) AS c_still_s
    FROM unnest(fk.conkey, fk.confkey, fk.conpfeqop) WITH ORDINALITY AS u(child_att, parent_att, eq, ord)
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid = fk.conrelid AND ca.attnum = u.child_att
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid = fk.confrelid AND pa.attnum = u.parent_att
    JOIN LATERAL (SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS eq
                  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                  WHERE o.oid = u.eq) AS op ON true
    -- Where the columns have different collations, the looser one is used, so that no child is missed.
    LEFT JOIN LATERAL (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, co.collname) AS clause
                       FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace n ON n.oid = co.collnamespace
                       WHERE pa.attcollation <> ca.attcollation AND co.oid IN (pa.attcollation, ca.attcollation)
                       ORDER BY co.collisdeterministic, co.oid = pa.attcollation
                       LIMIT 1) AS co ON true
) AS part
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(k.attnum ORDER BY k.ord) AS identity,
           pg_catalog.string_agg(pg_catalog.format('c.%I AS i%s', a.attname, k.ord), ', ' ORDER BY k.ord) AS c_as_i,
           pg_catalog.string_agg(pg_catalog.format('i%s', k.ord), ', ' ORDER BY k.ord) AS i_names,
           pg_catalog.string_agg(pg_catalog.format('c.%I OPERATOR(%I.%s) r.i%s', a.attname, n.nspname, o.oprname, k.ord),
                                 ' AND ' ORDER BY k.ord) AS c_is_i
    FROM pg_catalog.pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[]) WITH ORDINALITY AS k(attnum, opclass, ord)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
    JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
    JOIN pg_catalog.pg_operator o ON o.oid = ao.amopopr
    JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
    WHERE i.indrelid = fk.conrelid AND i.indisprimary AND i.indisvalid AND k.ord <= i.indnkeyatts
      AND oc.opcmethod = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'btree')
) AS pk
-- By oid: children are moved in this order, and moved back in reverse.
ORDER BY fk.oid
