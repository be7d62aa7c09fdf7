-- Purpose: read the size of leaves as it is now; the catalog has it as of the last VACUUM or ANALYZE.
-- Lock: ACCESS SHARE on one leaf after the other, for a moment.
-- Again: yes, it only reads.
SELECT leaf.relid, coalesce(pg_catalog.pg_relation_size(leaf.relid), 0) AS bytes
FROM pg_catalog.unnest(ARRAY[{relids}]::pg_catalog.oid[]) AS leaf(relid)
