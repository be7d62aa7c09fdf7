-- Purpose: list the tables whose index is attached to an index of a partitioned table, and valid.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT i.indrelid FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_index i ON i.indexrelid = h.inhrelid
WHERE h.inhparent = {index}::pg_catalog.oid
