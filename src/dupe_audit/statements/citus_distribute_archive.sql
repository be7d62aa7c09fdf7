-- Purpose: divide the archive among the nodes as the table is, so that each row is archived on its own node.
-- Lock: ACCESS EXCLUSIVE on the archive, until the transaction ends.
-- Again: no; once after citus_finish_archive, in the same transaction.
SELECT pg_catalog.create_distributed_table({archive}, {distribution_column}, colocate_with := {table})
