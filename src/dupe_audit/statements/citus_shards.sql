-- Purpose: list the shards of a distributed table, each with its node, in the order of their hash ranges.
-- Lock: ACCESS SHARE on catalogs of Citus, until the transaction ends.
-- Again: yes, it only reads.
SELECT s.shardid AS id, pg_catalog.shard_name(s.logicalrelid, s.shardid) AS name, node.nodename AS host, node.nodeport AS port
FROM pg_catalog.pg_dist_shard s
JOIN pg_catalog.pg_dist_placement placement ON placement.shardid = s.shardid
JOIN pg_catalog.pg_dist_node node ON node.groupid = placement.groupid AND node.noderole = 'primary'
WHERE s.logicalrelid::pg_catalog.oid = {relid}::pg_catalog.oid
ORDER BY s.shardminvalue::pg_catalog.int8, s.shardid, node.nodename, node.nodeport
