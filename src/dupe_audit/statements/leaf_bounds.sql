-- Purpose: read the condition that every row of a leaf has to meet; NULL if any row may be in it.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.pg_get_partition_constraintdef({relid}::pg_catalog.oid)
