-- Purpose: find the tables of a run that are no longer in the tree, and the condition under which a row goes to a DEFAULT partition.
-- Lock: ACCESS SHARE on the DEFAULT partitions and the levels above them, until the transaction ends.
-- Again: yes, it only reads.
WITH RECURSIVE tree AS (
    SELECT {relid}::pg_catalog.oid AS relid, false AS is_default
    UNION ALL
    SELECT h.inhrelid, tree.is_default OR h.inhrelid = p.partdefid
    FROM tree
    JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = tree.relid
    JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.relid AND NOT h.inhdetachpending
)
SELECT (SELECT pg_catalog.array_agg(pg_catalog.format('%I.%I', l.schema_name, l.table_name))
        FROM dupe_audit.leaf l
        WHERE l.run_id = {run} AND l.relation::pg_catalog.oid NOT IN (SELECT tree.relid FROM tree)) AS former,
       (SELECT pg_catalog.string_agg(pg_catalog.format('(%s)', coalesce(pg_catalog.pg_get_partition_constraintdef(tree.relid), 'true')), ' OR ')
        FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.relid
        WHERE tree.is_default AND c.relkind <> 'p') AS bounds
