-- Purpose: list the foreign keys that point at the table, with the condition that finds the children of a row e.
-- Lock: none beyond catalogs.
-- Again: yes, it reads.
SELECT pg_catalog.format('%I.%I', cn.nspname, cc.relname) AS child, con.conname::pg_catalog.text AS constraint_name,
       CASE con.confdeltype WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE'
                            WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END AS on_delete,
       (SELECT pg_catalog.string_agg(
                   pg_catalog.format('e.%I%s OPERATOR(%I.%s) c.%I', pa.attname, co.clause, op_ns.nspname, op.oprname, ca.attname),
                   ' AND ' ORDER BY u.ord)
        FROM unnest(con.conkey, con.confkey, con.conpfeqop) WITH ORDINALITY AS u(child_att, parent_att, eq, ord)
        JOIN pg_catalog.pg_attribute ca ON ca.attrelid = con.conrelid AND ca.attnum = u.child_att
        JOIN pg_catalog.pg_attribute pa ON pa.attrelid = con.confrelid AND pa.attnum = u.parent_att
        JOIN pg_catalog.pg_operator op ON op.oid = u.eq
        JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace
        -- Two collations would leave it open which one compares; the looser one finds no child too few.
        LEFT JOIN LATERAL (
            SELECT pg_catalog.format(' COLLATE %I.%I', co_ns.nspname, co.collname) AS clause
            FROM pg_catalog.pg_collation co
            JOIN pg_catalog.pg_namespace co_ns ON co_ns.oid = co.collnamespace
            WHERE pa.attcollation <> ca.attcollation AND co.oid IN (pa.attcollation, ca.attcollation)
            ORDER BY co.collisdeterministic, co.oid = pa.attcollation
            LIMIT 1
        ) AS co ON true) AS condition
FROM pg_catalog.pg_constraint con
JOIN pg_catalog.pg_class cc ON cc.oid = con.conrelid
JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace
WHERE con.confrelid = {relid}::pg_catalog.oid AND con.contype = 'f'
  -- A partitioned child has one constraint of its own and one a partition: the first covers all.
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up
                  WHERE up.oid = con.conparentid AND up.confrelid = con.confrelid)
ORDER BY cn.nspname, cc.relname, con.conname
