-- Purpose: list the leaves of a partitioned table with the condition that their rows have to satisfy; none if the table is not partitioned.
-- Lock: ACCESS SHARE on the leaves and the levels above them, until the transaction ends.
-- Again: yes, it only reads.
SELECT leaf.name, pg_catalog.pg_get_partition_constraintdef(leaf.oid) AS condition
FROM (
    SELECT tree.relid::pg_catalog.oid AS oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_catalog.pg_partition_tree({relid}::pg_catalog.oid::pg_catalog.regclass) AS tree
    JOIN pg_catalog.pg_class c ON c.oid = tree.relid::pg_catalog.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE tree.isleaf AND tree.level > 0
) AS leaf
ORDER BY leaf.oid
