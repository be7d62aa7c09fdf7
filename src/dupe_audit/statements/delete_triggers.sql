-- Purpose: name the triggers that fire when a row of the table is deleted.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.string_agg(tg.tgname, ', ' ORDER BY tg.tgname)
FROM pg_catalog.pg_trigger tg
WHERE tg.tgrelid = {relid}::pg_catalog.oid AND NOT tg.tgisinternal AND tg.tgenabled IN ('O', 'A')
  AND tg.tgtype::pg_catalog.int4 & 8 <> 0
