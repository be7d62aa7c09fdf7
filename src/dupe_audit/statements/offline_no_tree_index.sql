-- Purpose: return whether a script has no index of a partitioned table to drop; that of another table is dropped by the next statement.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT c.relkind <> 'p' OR NOT d.droppable FROM pg_catalog.pg_class c, pg_temp.dupe_audit_droppable_index(false) AS d WHERE c.oid = ({relid});
