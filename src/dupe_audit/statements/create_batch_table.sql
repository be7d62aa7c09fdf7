-- Purpose: create the ledger's table of committed batches, by which a run's sums can be checked.
-- Lock: SHARE ROW EXCLUSIVE on dupe_audit.run, until the transaction ends; none on the application's tables.
-- Again: yes.
CREATE TABLE IF NOT EXISTS dupe_audit.batch (
    run_id bigint NOT NULL REFERENCES dupe_audit.run (id),
    number bigint NOT NULL,
    archived bigint NOT NULL DEFAULT 0,
    amended bigint NOT NULL DEFAULT 0,
    merged bigint NOT NULL DEFAULT 0,
    restored bigint NOT NULL DEFAULT 0,
    reverted bigint NOT NULL DEFAULT 0,
    spared bigint NOT NULL DEFAULT 0,
    committed_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (run_id, number)
)
