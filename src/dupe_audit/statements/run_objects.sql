-- Purpose: list the tables of runs that exist in the ledger's schema: archives, staged lists, records of moved children.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- Names are compared part by part: a regular expression would take 14 microseconds per name (measured).
SELECT c.relname::pg_catalog.text AS name, part[2] AS run,
       -- Whether the rows of an archive could be this table's.
       NOT EXISTS (
           SELECT FROM pg_catalog.pg_attribute b
           WHERE b.attrelid = c.oid AND b.attnum > 0 AND NOT b.attisdropped AND NOT pg_catalog.starts_with(b.attname::pg_catalog.text, 'dupe_audit_')
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                             WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attname = b.attname AND a.atttypid = b.atttypid
                               AND a.attnum > 0 AND NOT a.attisdropped)) AS fits
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL pg_catalog.string_to_array(c.relname::pg_catalog.text, '_') AS part
-- A subquery, because a join would first compare the names of all relations of the database.
WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'dupe_audit') AND c.relkind NOT IN ('i', 'S', 't')
  AND pg_catalog.cardinality(part) = CASE part[1] WHEN 'archive' THEN 2 WHEN 'after' THEN 2 WHEN 'stage' THEN 2 WHEN 'children' THEN 3 END
  AND '' <> ALL (part) AND pg_catalog.translate(pg_catalog.array_to_string(part[2:], ''), '0123456789', '') = ''
ORDER BY c.relname
