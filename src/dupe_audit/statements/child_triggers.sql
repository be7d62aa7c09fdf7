-- Purpose: list the triggers that fire when a child is pointed at another row.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT DISTINCT pg_catalog.format('%I on %I.%I', tg.tgname, n.nspname, c.relname) AS subject
FROM pg_catalog.pg_constraint con
JOIN pg_catalog.pg_trigger tg ON tg.tgrelid = con.conrelid
JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE con.confrelid = {relid}::pg_catalog.oid AND con.contype = 'f' AND con.conrelid <> con.confrelid
  AND NOT tg.tgisinternal AND tg.tgenabled IN ('O', 'A') AND tg.tgtype::pg_catalog.int4 & 16 <> 0
  -- A trigger on named columns fires only if one of them is set.
  AND (pg_catalog.cardinality(tg.tgattr::pg_catalog.int2[]) = 0 OR tg.tgattr::pg_catalog.int2[] OPERATOR(pg_catalog.&&) con.conkey)
ORDER BY 1
