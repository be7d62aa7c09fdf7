-- Purpose: name who holds locks on the table, oldest first; prepared transactions have no pid.
-- Lock: none.
-- Again: yes, it reads.
SELECT l.pid, l.mode, a.state, a.application_name, a.usename,
       pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::numeric, 1)::float8 AS seconds,
       p.gid
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_prepared_xacts p ON l.virtualtransaction = '-1/' || p.transaction::pg_catalog.text
WHERE l.locktype = 'relation' AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND l.relation = {relid}
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY a.xact_start NULLS FIRST
LIMIT 10
