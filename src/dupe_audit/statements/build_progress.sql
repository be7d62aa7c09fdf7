-- Purpose: report how far a build is, and which session it waits for.
-- Lock: none.
-- Again: yes, it only reads.
SELECT coalesce(p.phase, 'waiting for the table') AS phase, p.lockers_total, p.lockers_done, a.pid AS locker, p.blocks_total, p.blocks_done,
       p.tuples_total, p.tuples_done, a.application_name, a.state,
       pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::numeric)::pg_catalog.float8 AS seconds
FROM pg_catalog.pg_stat_activity b
LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.pid = b.pid
LEFT JOIN pg_catalog.pg_stat_activity a
    -- Before its first phase a build waits for its lock on the table, which a VACUUM or DDL can hold.
    ON a.pid = coalesce(nullif(p.current_locker_pid, 0), (pg_catalog.pg_blocking_pids(b.pid))[1])
    -- The session that prepared a transaction is still reported as the locker, but is in no transaction any more.
    -- The same is not visible of another role's session without pg_read_all_stats: it has no state then.
    AND (a.xact_start IS NOT NULL OR a.state IS NULL)
WHERE b.pid = {pid} AND (p.phase IS NOT NULL OR b.wait_event_type = 'Lock')
