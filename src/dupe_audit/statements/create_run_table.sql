-- Purpose: create the ledger's table of runs.
-- Lock: none on the application's tables.
-- Again: yes.
CREATE TABLE IF NOT EXISTS dupe_audit.run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relid pg_catalog.oid NOT NULL,
    schema_name pg_catalog.text NOT NULL,
    table_name pg_catalog.text NOT NULL,
    key_columns pg_catalog.text[] NOT NULL,
    nulls_not_distinct boolean NOT NULL,
    constraint_name pg_catalog.text,
    building boolean NOT NULL DEFAULT false,
    keep pg_catalog.text CHECK (keep IN ('first', 'last')),
    order_by pg_catalog.text[] NOT NULL DEFAULT '{}',
    divergent pg_catalog.text CHECK (divergent IN ('refuse', 'archive')),
    on_reference pg_catalog.text CHECK (on_reference IN ('refuse', 'repoint')),
    ignored pg_catalog.text[] NOT NULL DEFAULT '{}',
    batch_size integer,
    pause double precision,
    max_replica_lag double precision,
    state pg_catalog.text NOT NULL CHECK (state IN ('cleaning', 'clean', 'enforced', 'dropped', 'restored', 'failed')),
    revision pg_catalog.text,
    rows_before bigint,
    groups bigint NOT NULL DEFAULT 0,
    extras bigint NOT NULL DEFAULT 0,
    archived bigint NOT NULL DEFAULT 0,
    restored bigint NOT NULL DEFAULT 0,
    started_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
    finished_at pg_catalog.timestamptz,
    purged_at pg_catalog.timestamptz,
    software_version pg_catalog.text NOT NULL,
    who pg_catalog.text NOT NULL DEFAULT pg_catalog.format('%s@%s', SESSION_USER, coalesce(pg_catalog.host(pg_catalog.inet_client_addr()), 'socket'))
)
