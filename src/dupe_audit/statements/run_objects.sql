-- Purpose: list the tables of runs that exist in the ledger's schema: archives, staged lists, records of moved children.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT c.relname::pg_catalog.text AS name,
       pg_catalog.substring(c.relname::pg_catalog.text, '^(?:archive|after|stage|children)_([0-9]+)') AS run,
       -- Whether the rows of an archive could be this table's.
       NOT EXISTS (
           SELECT FROM pg_catalog.pg_attribute b
           WHERE b.attrelid = c.oid AND b.attnum > 0 AND NOT b.attisdropped AND b.attname::pg_catalog.text !~ '^dupe_audit_'
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                             WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attname = b.attname AND a.atttypid = b.atttypid
                               AND a.attnum > 0 AND NOT a.attisdropped)) AS fits
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'dupe_audit' AND c.relkind NOT IN ('i', 'S', 't')
  AND c.relname::pg_catalog.text ~ '^(archive|after|stage)_[0-9]+$|^children_[0-9]+_[0-9]+$'
ORDER BY c.relname
