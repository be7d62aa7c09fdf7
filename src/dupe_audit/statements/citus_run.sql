-- Purpose: execute one command on the node of each shard, outside the transaction of the coordinator; returns the single value of each, or its error.
-- Lock: as the commands say; each is a transaction of its node.
-- Again: as the commands say.
SELECT r.success, r.result
FROM pg_catalog.master_run_on_worker({hosts}, {ports}, {commands}, {parallel}) AS r
