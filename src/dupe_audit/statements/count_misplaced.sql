-- Purpose: count the rows of a leaf that do not belong to it, because a hash function or collation has changed since they were written.
-- Lock: ACCESS SHARE on the leaf, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FROM ONLY {table} WHERE NOT ({bounds})
