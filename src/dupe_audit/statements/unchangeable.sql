-- Purpose: list the columns that a cleanup is asked to change and cannot, or must not, each with the reason.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH asked AS (
    SELECT a.attrelid, a.attnum, a.attname, a.attgenerated, a.attidentity
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attname::pg_catalog.text = ANY ({columns}) AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT pg_catalog.format('%I is a generated column', attname) AS problem FROM asked WHERE attgenerated <> ''
UNION ALL
SELECT pg_catalog.format('%I is GENERATED ALWAYS AS IDENTITY', attname) FROM asked WHERE attidentity = 'a'
UNION ALL
SELECT pg_catalog.format('%I is in the primary key, by which the row is found again', attname)
FROM asked JOIN pg_catalog.pg_index i ON i.indrelid = asked.attrelid AND i.indisprimary AND asked.attnum = ANY (i.indkey::pg_catalog.int2[])
UNION ALL
SELECT pg_catalog.format('%I is referenced by foreign key %I of %s', attname, con.conname, con.conrelid::pg_catalog.regclass)
FROM asked JOIN pg_catalog.pg_constraint con ON con.confrelid = asked.attrelid AND con.contype = 'f' AND asked.attnum = ANY (con.confkey)
WHERE con.conparentid = 0::pg_catalog.oid
UNION ALL
SELECT 'the table has no primary key, by which a changed row could be found again'
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                  JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
                  JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
                  WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisprimary AND i.indisvalid)
ORDER BY 1
