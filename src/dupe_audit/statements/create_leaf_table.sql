-- Purpose: create the ledger's table of the leaves and inner levels of partitioned tables, with the index that a run builds on each.
-- Lock: SHARE ROW EXCLUSIVE on dupe_audit.run, until the transaction ends; none on the application's tables.
-- Again: yes.
CREATE TABLE IF NOT EXISTS dupe_audit.leaf (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES dupe_audit.run (id),
    relation pg_catalog.regclass NOT NULL,
    schema_name pg_catalog.text NOT NULL,
    table_name pg_catalog.text NOT NULL,
    rows_before bigint,
    groups bigint NOT NULL DEFAULT 0,
    extras bigint NOT NULL DEFAULT 0,
    index_name pg_catalog.text,
    building boolean NOT NULL DEFAULT false,
    UNIQUE (run_id, relation)
)
