-- Purpose: have amcheck compare an index with its table; it fails if it finds damage.
-- Lock: ACCESS SHARE on the table and the index.
-- Again: yes, it only reads.
SELECT {function}({index}::pg_catalog.regclass, {options})
