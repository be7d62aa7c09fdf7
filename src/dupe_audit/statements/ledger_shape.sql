-- Purpose: report whether the ledger exists, and whether it has the columns of this version.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.to_regclass('dupe_audit.batch') IS NOT NULL AS created,
       pg_catalog.to_regclass('dupe_audit.child') IS NOT NULL AND pg_catalog.to_regclass('dupe_audit.leaf') IS NOT NULL
           AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
                WHERE NOT a.attisdropped
                  AND ((a.attrelid = pg_catalog.to_regclass('dupe_audit.run')::pg_catalog.oid AND a.attname IN ('adopted_index', 'archived_generated', 'campaign', 'directions', 'index_predicate', 'on_reference', 'reverted'))
                       OR (a.attrelid = pg_catalog.to_regclass('dupe_audit.child')::pg_catalog.oid AND a.attname = 'column_names'))
               ) = 8 AS current
