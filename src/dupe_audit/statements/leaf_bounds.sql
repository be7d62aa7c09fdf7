-- Purpose: read the condition that every row of each of some leaves has to meet; NULL if any row may be in it.
-- Lock: ACCESS SHARE on the leaves and the levels above them, until the transaction ends.
-- Again: yes, it only reads.
SELECT leaf.relid, pg_catalog.pg_get_partition_constraintdef(leaf.relid) AS bounds
FROM pg_catalog.unnest(ARRAY[{relids}]::pg_catalog.oid[]) AS leaf(relid)
