-- Purpose: describe other sessions by their pids: name, state, and what each waits for; never the query, which can contain data.
-- Lock: none.
-- Again: yes, it only reads.
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename::pg_catalog.text) AS name, a.state,
       CASE WHEN a.wait_event_type = 'Lock' THEN a.wait_event END AS lock
FROM pg_catalog.pg_stat_activity a
WHERE a.pid = ANY ({pids}) AND a.pid <> pg_catalog.pg_backend_pid()
ORDER BY a.pid
