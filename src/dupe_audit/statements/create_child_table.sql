-- Purpose: make the ledger's table of foreign keys whose children a run moves; each has a record dupe_audit.children_<run>_<number>.
-- Lock: none on application objects.
-- Again: yes.
CREATE TABLE IF NOT EXISTS dupe_audit.child (
    run_id bigint NOT NULL REFERENCES dupe_audit.run (id),
    number integer NOT NULL,
    relid oid NOT NULL,
    child text NOT NULL,
    constraint_name text NOT NULL,
    identity int2[] NOT NULL,
    columns int2[] NOT NULL,
    moved bigint NOT NULL DEFAULT 0,
    returned bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, number)
)
