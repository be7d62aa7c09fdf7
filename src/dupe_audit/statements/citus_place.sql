-- Purpose: read what the cluster says about a table of Citus: whether this is the coordinator, whether it has a copy, and how many copies a shard has.
-- Lock: ACCESS SHARE on catalogs of Citus, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce((SELECT pg_catalog.bool_and(g.groupid = 0) FROM pg_catalog.pg_dist_local_group g), false) AS on_coordinator,
       coalesce(pg_catalog.bool_or(placement.groupid = 0), false) AS has_copy,
       pg_catalog.count(placement.shardid) > pg_catalog.count(DISTINCT s.shardid) AS replicated
FROM pg_catalog.pg_dist_shard s
LEFT JOIN pg_catalog.pg_dist_placement placement ON placement.shardid = s.shardid
WHERE s.logicalrelid::pg_catalog.oid = {relid}::pg_catalog.oid
