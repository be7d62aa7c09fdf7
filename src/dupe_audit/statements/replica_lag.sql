-- Purpose: return how many seconds the slowest standby's replay is behind, NULL if that cannot be seen from here (H194); and whether the server is Aurora, whose readers reader_lag reports.
-- Lock: none.
-- Again: yes, it only reads.
SELECT extract(epoch FROM pg_catalog.max(replay_lag))::pg_catalog.float8 AS lag,
       pg_catalog.to_regproc('pg_catalog.aurora_replica_status') IS NOT NULL AS aurora
FROM pg_catalog.pg_stat_replication
