-- Purpose: make the ledger's table of committed batches, so that a run's sums can be checked one by one.
-- Lock: none on application objects.
-- Again: yes.
CREATE TABLE IF NOT EXISTS dupe_audit.batch (
    run_id bigint NOT NULL REFERENCES dupe_audit.run (id),
    number bigint NOT NULL,
    archived bigint NOT NULL DEFAULT 0,
    restored bigint NOT NULL DEFAULT 0,
    spared bigint NOT NULL DEFAULT 0,
    committed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (run_id, number)
)
