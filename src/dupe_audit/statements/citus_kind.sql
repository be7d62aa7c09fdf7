-- Purpose: read from the catalog of Citus what kind of table it manages under an oid; no row for a plain table.
-- Lock: ACCESS SHARE on pg_dist_partition, until the transaction ends.
-- Again: yes, it only reads. Callers check first whether the catalog exists (relation_exists).
SELECT CASE WHEN p.partmethod <> 'n' THEN 'distributed' WHEN p.repmodel = 't' THEN 'reference' ELSE 'Citus-local' END AS kind
FROM pg_catalog.pg_dist_partition p
WHERE p.logicalrelid::pg_catalog.oid = {relid}::pg_catalog.oid
