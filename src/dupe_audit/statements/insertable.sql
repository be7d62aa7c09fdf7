-- Purpose: list what an INSERT into each of some tables would check, as subjects and as the SQL that counts the rows that would fail.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- Rows can violate what is NOT VALID, what was skipped (session_replication_role), and what calls a function that has changed.
WITH RECURSIVE rel AS (
    SELECT c.oid, c.relname
    FROM pg_catalog.pg_class c
    WHERE c.oid IN ({relids})
), value AS (
    -- The domains of the columns, of the elements of arrays, and the domains that these are based on.
    SELECT rel.oid AS relid, a.attname, a.atttypid AS type, pg_catalog.format('%I.%I', rel.relname, a.attname) AS sql, false AS unnested
    FROM rel
    JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT v.relid, v.attname, inner_type.type, v.sql, inner_type.unnested
    FROM value v
    JOIN pg_catalog.pg_type t ON t.oid = v.type
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS type, v.unnested WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem, true WHERE t.typcategory = 'A' AND t.typtype = 'b' AND NOT v.unnested
    ) AS inner_type
), condition AS (
    SELECT rel.oid AS relid, 1 AS place, con.oid, pg_catalog.format('check constraint %I', con.conname) AS subject,
           pg_catalog.format('(%s) IS FALSE', pg_catalog.pg_get_expr(con.conbin, con.conrelid)) AS violated
    FROM rel
    JOIN pg_catalog.pg_constraint con ON con.conrelid = rel.oid AND con.contype = 'c'
    -- A validated check holds for good if it calls nothing but the server's own operators.
    WHERE (NOT con.convalidated
           OR con.conbin::pg_catalog.text ~ '[{](FUNCEXPR|SQLVALUEFUNCTION|COERCEVIAIO|COERCETODOMAIN)|:opno [0-9][0-9][0-9][0-9][0-9]')
      AND coalesce((pg_catalog.to_jsonb(con) ->> 'conenforced'::pg_catalog.text)::pg_catalog.bool, true)
    UNION ALL
    -- NOT NULL ... NOT VALID (PostgreSQL 18)
    SELECT rel.oid, 2, con.oid, pg_catalog.format('constraint %I (column %I is not null)', con.conname, a.attname),
           pg_catalog.format('%I.%I IS NULL', rel.relname, a.attname)
    FROM rel
    JOIN pg_catalog.pg_constraint con ON con.conrelid = rel.oid AND con.contype = 'n' AND NOT con.convalidated
    JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attnum = ANY (con.conkey)
    UNION ALL
    -- Outside a domain, VALUE is read as the name of a column.
    SELECT v.relid, 3, con.oid, pg_catalog.format('constraint %I of domain %s (column %I)', con.conname, t.oid::pg_catalog.regtype, v.attname),
           pg_catalog.format('EXISTS (SELECT FROM %s WHERE (%s) IS FALSE)',
               CASE WHEN v.unnested THEN pg_catalog.format('pg_catalog.unnest(%s) AS domain(value)', v.sql)
                    ELSE pg_catalog.format('(SELECT CAST(%s AS %s) AS value) AS domain', v.sql,
                                           pg_catalog.format_type(t.typbasetype, t.typtypmod)) END,
               pg_catalog.pg_get_expr(con.conbin, 0))
    FROM value v
    JOIN pg_catalog.pg_type t ON t.oid = v.type AND t.typtype = 'd'
    JOIN pg_catalog.pg_constraint con ON con.contypid = t.oid AND con.contype = 'c'
    UNION ALL
    SELECT rel.oid, 4, d.oid, pg_catalog.format('generated column %I (its expression gives another value now)', a.attname),
           pg_catalog.format('NOT pg_catalog.record_image_eq(ROW(%I.%I), ROW(CAST((%s) AS %s)))', rel.relname, a.attname,
                             pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.format_type(a.atttypid, a.atttypmod))
    FROM rel
    JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attgenerated = 's' AND NOT a.attisdropped
    JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT rel.oid, 5, rel.oid, 'the bounds of the partition', pg_catalog.format('(%s) IS FALSE', bounds)
    FROM rel
    CROSS JOIN LATERAL pg_catalog.pg_get_partition_constraintdef(rel.oid) AS bounds
    WHERE bounds IS NOT NULL
    UNION ALL
    -- Values of variable width can move out of the page, and then leave 18 bytes; those of fixed width cannot. The archive adds
    -- the survivor's identity, three numbers and times, and later the time of the restore or the reason why there was none.
    SELECT rel.oid, 7, rel.oid, 'the size of a row (with the columns that the archive adds, it does not fit into a page)',
           pg_catalog.format('pg_catalog.pg_column_size(ROW(%s, %s, 0::pg_catalog.int8, pg_catalog.now(), NULL::pg_catalog.timestamptz, '
                             'pg_catalog.repeat(''x'', 17), 0::pg_catalog.int8)) > %s', stored.parts, stored.identity, stored.most)
    FROM rel
    CROSS JOIN LATERAL (
        SELECT pg_catalog.string_agg(col.part, ', ' ORDER BY col.attnum) AS parts,
               coalesce(pg_catalog.string_agg(col.part, ', ' ORDER BY col.attnum) FILTER (WHERE col.is_identity),
                        '0::pg_catalog.int8, 0::pg_catalog.int8') AS identity,
               pg_catalog.sum(col.most) + coalesce(pg_catalog.sum(col.most) FILTER (WHERE col.is_identity), 16) AS widest,
               pg_catalog.current_setting('block_size')::pg_catalog.int8 - 32 AS most
        FROM (
            SELECT a.attnum, pk.indrelid IS NOT NULL AS is_identity,
                   CASE WHEN t.typlen > 0 THEN t.typlen + 7 WHEN t.typstorage = 'p' THEN 8192 ELSE 24 + 3 END AS most,
                   pg_catalog.format(CASE WHEN t.typlen > 0 OR t.typstorage = 'p' THEN '%1$I.%2$I'
                                          ELSE 'pg_catalog.repeat(''x'', CASE WHEN pg_catalog.pg_column_size(%1$I.%2$I) > 24 '
                                               'THEN 17 ELSE pg_catalog.pg_column_size(%1$I.%2$I) - 1 END)' END,
                                     rel.relname, a.attname) AS part
            FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_catalog.pg_index pk ON pk.indrelid = a.attrelid AND pk.indisprimary AND pk.indisvalid
                AND a.attnum = ANY ((pk.indkey::pg_catalog.int2[])[0:pk.indnkeyatts - 1])
            WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
        ) AS col
    ) AS stored
    -- 350 is more than the header of a row with 1,600 columns, and what the archive adds to it, its columns for changed rows included.
    WHERE stored.widest + 350 > stored.most
    UNION ALL
    -- What a failed build leaves can reject rows that the table has. Which ones, no query can find out in time.
    -- The upgrade itself drops or refuses an index over columns of the key alone, and drops what its own interrupted
    -- build has left, whatever the columns.
    SELECT rel.oid, 8, i.indexrelid, pg_catalog.format('index %I (it is not valid, but rejects rows)', ic.relname), 'true'
    FROM rel
    JOIN pg_catalog.pg_index i ON i.indrelid = rel.oid AND i.indisunique AND i.indisready AND NOT i.indisvalid
    JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    WHERE ic.relname IS DISTINCT FROM {own_index}
      AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL
           OR EXISTS (SELECT FROM pg_catalog.unnest((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1]) AS k(attnum)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attnum = k.attnum
                      WHERE a.attname <> ALL ({key_names})))
    UNION ALL
    SELECT rel.oid, 6, con.oid, pg_catalog.format('foreign key %I', con.conname),
           pg_catalog.format('%s AND (SELECT true FROM %s dupe_audit_parent WHERE %s LIMIT 1) IS NULL',
               CASE con.confmatchtype WHEN 'f' THEN pg_catalog.format('NOT (%s)', part.all_null) ELSE part.none_null END,
               CASE pc.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || pg_catalog.format('%I.%I', pn.nspname, pc.relname), part.same)
    FROM rel
    JOIN pg_catalog.pg_constraint con ON con.conrelid = rel.oid AND con.contype = 'f'
    JOIN pg_catalog.pg_class pc ON pc.oid = con.confrelid
    JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
    CROSS JOIN LATERAL (
        SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I IS NULL', rel.relname, ca.attname), ' AND ' ORDER BY u.ord) AS all_null,
               pg_catalog.string_agg(pg_catalog.format('%I.%I IS NOT NULL', rel.relname, ca.attname), ' AND ' ORDER BY u.ord) AS none_null,
               pg_catalog.string_agg(
                   pg_catalog.format('dupe_audit_parent.%I OPERATOR(%I.%s) %I.%I%s', pa.attname, n.nspname, o.oprname, rel.relname, ca.attname,
                       CASE WHEN pa.attcollation <> ca.attcollation
                            THEN (SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname)
                                  FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                                  WHERE co.oid = pa.attcollation) END), ' AND ' ORDER BY u.ord) AS same
        FROM unnest(con.conkey, con.confkey, con.conpfeqop) WITH ORDINALITY AS u(child_att, parent_att, eq, ord)
        JOIN pg_catalog.pg_attribute ca ON ca.attrelid = con.conrelid AND ca.attnum = u.child_att
        JOIN pg_catalog.pg_attribute pa ON pa.attrelid = con.confrelid AND pa.attnum = u.parent_att
        JOIN pg_catalog.pg_operator o ON o.oid = u.eq
        JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
    ) AS part
    WHERE coalesce((pg_catalog.to_jsonb(con) ->> 'conenforced'::pg_catalog.text)::pg_catalog.bool, true)
      -- A partitioned parent has a constraint, and so has each of its partitions; the former covers all rows.
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up
                      WHERE up.oid = con.conparentid AND up.conrelid = con.conrelid)
      -- A reference to a period (PostgreSQL 18) can be to several rows at once.
      AND NOT coalesce((pg_catalog.to_jsonb(con) ->> 'conperiod'::pg_catalog.text)::pg_catalog.bool, false)
      AND pg_catalog.has_schema_privilege(pn.oid, 'USAGE') AND pg_catalog.has_table_privilege(pc.oid, 'SELECT')
      AND NOT pg_catalog.row_security_active(pc.oid)
)
SELECT relid, pg_catalog.array_agg(subject ORDER BY place, oid) AS subjects,
       'ARRAY[' || pg_catalog.string_agg(pg_catalog.format('pg_catalog.count(*) FILTER (WHERE %s)', violated), ', ' ORDER BY place, oid)
           || ']' AS counts
FROM condition
GROUP BY relid
