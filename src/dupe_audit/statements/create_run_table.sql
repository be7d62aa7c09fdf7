-- Purpose: create the ledger's table of runs.
-- Lock: none on the application's tables.
-- Again: yes.
CREATE TABLE IF NOT EXISTS dupe_audit.run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relid oid NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key_columns text[] NOT NULL,
    nulls_not_distinct boolean NOT NULL,
    constraint_name text,
    building boolean NOT NULL DEFAULT false,
    adopted_index text,
    keep text CHECK (keep IN ('first', 'last')),
    order_by text[] NOT NULL DEFAULT '{}',
    divergent text CHECK (divergent IN ('refuse', 'archive')),
    on_reference text CHECK (on_reference IN ('refuse', 'repoint')),
    ignored text[] NOT NULL DEFAULT '{}',
    batch_size integer,
    pause double precision,
    max_replica_lag double precision,
    state text NOT NULL CHECK (state IN ('cleaning', 'clean', 'enforced', 'dropped', 'restored', 'failed')),
    revision text,
    rows_before bigint,
    groups bigint NOT NULL DEFAULT 0,
    extras bigint NOT NULL DEFAULT 0,
    archived bigint NOT NULL DEFAULT 0,
    restored bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    finished_at timestamptz,
    purged_at timestamptz,
    software_version text NOT NULL,
    who text NOT NULL DEFAULT pg_catalog.format('%s@%s', SESSION_USER, coalesce(pg_catalog.host(pg_catalog.inet_client_addr()), 'socket'))
)
