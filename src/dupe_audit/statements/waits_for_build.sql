-- Purpose: find a session that waits for a build on a leaf, in order to drop, detach or alter the leaf, or to create another partition.
-- Lock: none.
-- Again: yes, it only reads.
SELECT l.pid, a.application_name
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND NOT l.granted
  AND l.relation = {relid}::pg_catalog.oid
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND {pid}::pg_catalog.int4 = ANY (pg_catalog.pg_blocking_pids(l.pid))
LIMIT 1
