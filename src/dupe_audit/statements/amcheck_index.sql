-- Purpose: compare an index with its table by amcheck, which raises an error if it finds damage.
-- Lock: ACCESS SHARE on the table and the index, until the transaction ends.
-- Again: yes, it only reads.
SELECT {function}({index}::pg_catalog.regclass, {options})
