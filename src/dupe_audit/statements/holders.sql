-- Purpose: list the sessions and prepared transactions that hold locks on the table, oldest first; the latter have no pid.
-- Lock: none.
-- Again: yes, it only reads.
SELECT l.pid, l.mode, a.state, a.application_name, a.usename,
       pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::numeric, 1)::pg_catalog.float8 AS seconds,
       p.gid
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
-- A prepared transaction's locks keep the virtual id of the session that took them; only its transaction id names it.
LEFT JOIN pg_catalog.pg_locks x
  ON l.pid IS NULL AND x.locktype = 'transactionid' AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE l.locktype = 'relation' AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND l.relation = {relid}::pg_catalog.oid
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY a.xact_start NULLS FIRST
LIMIT 10
