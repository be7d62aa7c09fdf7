-- Purpose: derive the condition that a row "t" of the table is a row "a" of the archive, by the primary key.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.string_agg(pg_catalog.format('t.%I OPERATOR(%I.%s) a.%1$I', att.attname, op_ns.nspname, op.oprname), ' AND ' ORDER BY k.ord)
FROM pg_catalog.pg_index i
CROSS JOIN LATERAL unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[]) WITH ORDINALITY AS k(attnum, opclass, ord)
JOIN pg_catalog.pg_attribute att ON att.attrelid = i.indrelid AND att.attnum = k.attnum
JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
    AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace
WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisprimary AND i.indisvalid AND k.ord <= i.indnkeyatts
