-- Purpose: say how far a build is and for whom it waits.
-- Lock: none.
-- Again: yes, it reads.
SELECT p.phase, p.lockers_total, p.lockers_done, p.current_locker_pid, p.blocks_total, p.blocks_done,
       p.tuples_total, p.tuples_done, a.application_name, a.state,
       pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::numeric)::float8 AS seconds
FROM pg_catalog.pg_stat_progress_create_index p
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = p.current_locker_pid
WHERE p.pid = {pid}
