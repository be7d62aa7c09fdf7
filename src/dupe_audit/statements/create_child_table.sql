-- Purpose: create the ledger's table of foreign keys whose children a run moves.
-- Lock: SHARE ROW EXCLUSIVE on dupe_audit.run, until the transaction ends; none on the application's tables.
-- Again: yes.
-- The children themselves are recorded in dupe_audit.children_<run>_<number>.
CREATE TABLE IF NOT EXISTS dupe_audit.child (
    run_id bigint NOT NULL REFERENCES dupe_audit.run (id),
    number integer NOT NULL,
    relid pg_catalog.oid NOT NULL,
    relation pg_catalog.regclass,
    child pg_catalog.text NOT NULL,
    constraint_name pg_catalog.text NOT NULL,
    identity pg_catalog.int2[] NOT NULL,
    columns pg_catalog.int2[] NOT NULL,
    identity_names pg_catalog.text[],
    column_names pg_catalog.text[],
    moved bigint NOT NULL DEFAULT 0,
    returned bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, number)
)
