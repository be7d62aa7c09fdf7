-- Purpose: return the seconds by which the slowest standby replays late; NULL if this cannot be seen from here (H194).
-- Lock: none.
-- Again: yes, it only reads.
SELECT extract(epoch FROM pg_catalog.max(replay_lag))::float8 FROM pg_catalog.pg_stat_replication
