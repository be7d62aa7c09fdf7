-- Purpose: list the names that a table of Citus and its shards have on the nodes, and the name of this session's connections to them.
-- Lock: ACCESS SHARE on catalogs of Citus, until the transaction ends.
-- Again: yes, it only reads. Callers check first whether the catalog exists (relation_exists).
SELECT pg_catalog.array_agg(named.name) AS names,
       pg_catalog.format('citus_internal gpid=%s', pg_catalog.citus_backend_gpid()) AS own
FROM (
    SELECT p.logicalrelid::pg_catalog.text AS name FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid::pg_catalog.oid = {relid}::pg_catalog.oid
    UNION ALL
    SELECT pg_catalog.shard_name(s.logicalrelid, s.shardid)::pg_catalog.text FROM pg_catalog.pg_dist_shard s
    WHERE s.logicalrelid::pg_catalog.oid = {relid}::pg_catalog.oid
) AS named
