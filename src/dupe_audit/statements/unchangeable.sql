-- Purpose: list the columns that set_ or merge names but a cleanup cannot or must not change, each with the reason.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH asked AS (
    SELECT a.attrelid, a.attnum, a.attname, a.attgenerated, a.attidentity
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attname::pg_catalog.text = ANY ({columns}) AND a.attnum > 0 AND NOT a.attisdropped
), changed AS (
    SELECT attrelid, attnum, pg_catalog.quote_ident(attname) AS subject FROM asked
    UNION ALL
    -- Up to PostgreSQL 14, pg_depend links the generated column to its sources; from 15 on, it links the expression.
    SELECT DISTINCT g.attrelid, g.attnum, pg_catalog.format('%I, which is generated from %I,', g.attname, asked.attname)
    FROM asked
    JOIN pg_catalog.pg_attribute g ON g.attrelid = asked.attrelid AND g.attgenerated <> '' AND NOT g.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef e ON e.adrelid = g.attrelid AND e.adnum = g.attnum
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
        AND d.refobjid = asked.attrelid AND d.refobjsubid = asked.attnum
        AND (d.classid = d.refclassid AND d.objid = g.attrelid AND d.objsubid = g.attnum
             OR d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid AND d.objid = e.oid)
)
SELECT pg_catalog.format('%I is a generated column', attname) AS problem FROM asked WHERE attgenerated <> ''
UNION ALL
SELECT pg_catalog.format('%I is GENERATED ALWAYS AS IDENTITY', attname) FROM asked WHERE attidentity = 'a'
UNION ALL
SELECT pg_catalog.format('%s is in the primary key, by which the row is found again', subject)
FROM changed JOIN pg_catalog.pg_index i ON i.indrelid = changed.attrelid AND i.indisprimary AND changed.attnum = ANY (i.indkey::pg_catalog.int2[])
UNION ALL
SELECT pg_catalog.format('%s is referenced by foreign key %I of %s', subject, coalesce(up.conname, con.conname), con.conrelid::pg_catalog.regclass)
FROM changed JOIN pg_catalog.pg_constraint con ON con.confrelid = changed.attrelid AND con.contype = 'f' AND changed.attnum = ANY (con.confkey)
LEFT JOIN pg_catalog.pg_constraint up ON up.oid = con.conparentid
-- A copy for a partition of the child adds nothing; a copy for a partition of what it references is the only one that names it.
WHERE up.confrelid IS DISTINCT FROM con.confrelid
UNION ALL
SELECT 'the table has no primary key, by which a changed row could be found again'
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                  JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
                  JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
                  WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisprimary AND i.indisvalid)
UNION ALL
SELECT pg_catalog.format('constraint %I checks the whole row, so no change can be tried on a copy of the table', con.conname)
FROM pg_catalog.pg_constraint con
WHERE con.conrelid = {relid}::pg_catalog.oid AND con.contype = 'c' AND 0 = ANY (con.conkey)
ORDER BY 1
