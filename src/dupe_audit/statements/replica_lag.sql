-- Purpose: return by how many seconds the slowest standby's replay is behind; NULL if that cannot be seen from here (H194).
-- Lock: none.
-- Again: yes, it only reads.
SELECT extract(epoch FROM pg_catalog.max(replay_lag))::pg_catalog.float8 FROM pg_catalog.pg_stat_replication
