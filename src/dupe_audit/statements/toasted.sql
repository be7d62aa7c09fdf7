-- Purpose: read whether the table has values that are too wide for its pages.
-- Lock: ACCESS SHARE on the table's TOAST table, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce(pg_catalog.pg_relation_size(c.reltoastrelid::pg_catalog.regclass), 0) > 0
FROM pg_catalog.pg_class c
WHERE c.oid = {relid}::pg_catalog.oid
