-- Purpose: find a backend that is building an index on the table now; it may be the orphan of a killed client (H53).
-- Lock: none.
-- Again: yes, it only reads.
SELECT p.pid
FROM pg_catalog.pg_stat_progress_create_index p
JOIN pg_catalog.pg_locks l ON l.pid = p.pid AND l.locktype = 'relation'
WHERE l.relation = {relid}::pg_catalog.oid AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock')
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND p.pid <> pg_catalog.pg_backend_pid()
LIMIT 1
