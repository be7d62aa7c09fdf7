-- Purpose: list the sessions that a session waits for; a prepared transaction has pid 0.
-- Lock: none; it stops the lock manager for a moment, so it is executed only for a session that waits.
-- Again: yes, it only reads.
SELECT DISTINCT b.pid, a.state, a.application_name, a.usename,
       pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::numeric, 1)::pg_catalog.float8 AS seconds
FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids({pid})) AS b (pid)
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
ORDER BY seconds DESC NULLS LAST, b.pid
LIMIT 10
