-- Purpose: report whether the ledger and its schema exist, and whether it has the columns of this version.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- Names are looked up in the statement's snapshot, so that what is reported to exist is what ledger_trust judges beside it.
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'dupe_audit') AS has_schema,
       pg_catalog.count(*) FILTER (WHERE c.relname = 'batch') > 0 AS created,
       pg_catalog.count(*) FILTER (WHERE c.relname IN ('child', 'leaf')) = 2 AND pg_catalog.sum((
           SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = c.oid AND NOT a.attisdropped
             AND ((c.relname = 'run' AND a.attname IN ('adopted_index', 'archived_generated', 'campaign', 'directions', 'index_predicate', 'on_reference', 'reverted'))
                  OR (c.relname = 'child' AND a.attname = 'column_names'))))::pg_catalog.int8 = 8 AS current
FROM pg_catalog.pg_class c
WHERE c.relname IN ('run', 'batch', 'child', 'leaf')
  AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'dupe_audit')
