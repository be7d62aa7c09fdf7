-- Purpose: list what a concurrent build would wait for: old transactions that can write, and another build or VACUUM.
-- Lock: none.
-- Again: yes, it only reads.
SELECT DISTINCT l.pid
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.relation = {relid}::pg_catalog.oid
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
  -- A prepared transaction has no session. An autovacuum worker makes way; the age of a hidden transaction is not known.
  AND (l.pid IS NULL OR a.backend_type <> 'autovacuum worker' AND (
           l.mode = 'ShareUpdateExclusiveLock' OR a.xact_start < pg_catalog.clock_timestamp() - interval {age}))
