-- Purpose: list the earlier runs of a table whose changed rows are not all changed back, each with the table that has these rows as it left them.
-- Lock: ACCESS SHARE on dupe_audit.run, until the transaction ends.
-- Again: yes, it only reads.
-- A table of another owner than the ledger's is not touched. If a column has another type now, that run cannot be restored anyway.
SELECT r.id, pg_catalog.format('dupe_audit.%I', c.relname) AS after
FROM dupe_audit.run r
JOIN pg_catalog.pg_class ledger ON ledger.oid = 'dupe_audit.run'::pg_catalog.regclass::pg_catalog.oid
JOIN pg_catalog.pg_class c ON c.relnamespace = ledger.relnamespace AND c.relname = pg_catalog.format('after_%s', r.id)
    AND c.relkind = 'r' AND c.relowner = ledger.relowner
WHERE r.id < {run} AND ({run_relation}) = {relid}::pg_catalog.oid
  AND r.purged_at IS NULL AND r.amended + r.merged > r.reverted
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  JOIN pg_catalog.pg_attribute b ON b.attrelid = c.oid AND b.attname = a.attname AND b.attnum > 0 AND NOT b.attisdropped
                  WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid <> b.atttypid)
