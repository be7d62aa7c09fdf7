-- Purpose: drop the index of a partitioned table in a script, because it cannot be dropped concurrently.
-- Lock: ACCESS EXCLUSIVE on the table and its partitions, for an instant, under the lock timeout that is set.
-- Again: yes; without such an index it executes nothing.
EXECUTE (SELECT 'DROP INDEX ' || d.qualified_name FROM pg_temp.dupe_audit_droppable_index(false) AS d WHERE d.droppable);
