-- Purpose: return how many seconds the slowest reader of an Aurora cluster is behind; NULL if it has none. A reader that has not reported for five minutes is stopped or gone, and is left out.
-- Lock: none.
-- Again: yes, it only reads. Only on Aurora, where pg_stat_replication does not contain the readers.
SELECT pg_catalog.max(r.replica_lag_in_msec)::pg_catalog.float8 / 1000
FROM pg_catalog.aurora_replica_status() AS r
WHERE r.session_id <> 'MASTER_SESSION_ID'
  AND (r.last_update_timestamp IS NULL OR r.last_update_timestamp > pg_catalog.now() - interval '5 minutes')
