-- Purpose: read from the catalog of Citus what kind of table it manages under an oid, and its distribution column; no row for a plain table.
-- Lock: ACCESS SHARE on pg_dist_partition, until the transaction ends.
-- Again: yes, it only reads. Callers check first whether the catalog exists (relation_exists).
SELECT CASE WHEN p.partmethod = 'h' THEN 'distributed'
            WHEN p.partmethod <> 'n' THEN 'append- or range-distributed'
            WHEN p.repmodel = 't' THEN 'reference'
            WHEN p.colocationid <> 0 THEN 'single-shard'
            ELSE 'Citus-local' END AS kind,
       -- The catalog keeps the column as the text of an expression node.
       (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = p.logicalrelid::pg_catalog.oid
          AND a.attnum = pg_catalog.substring(p.partkey, ':varattno ([0-9]+)')::pg_catalog.int2) AS distribution_column
FROM pg_catalog.pg_dist_partition p
WHERE p.logicalrelid::pg_catalog.oid = {relid}::pg_catalog.oid
