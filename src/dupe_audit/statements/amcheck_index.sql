-- Purpose: compare indexes with their tables by amcheck, which raises an error at the first one in which it finds damage.
-- Lock: ACCESS SHARE on the tables and the indexes, until the transaction ends.
-- Again: yes, it only reads.
SELECT {function}(i.oid::pg_catalog.regclass, {options}) FROM pg_catalog.unnest(ARRAY[{indexes}]::pg_catalog.oid[]) AS i(oid)
