-- Purpose: create the ledger's table of campaigns: the runs that one revision opens in many schemas.
-- Lock: none on existing objects.
-- Again: yes.
CREATE TABLE IF NOT EXISTS dupe_audit.campaign (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    revision pg_catalog.text,
    query pg_catalog.text,
    places pg_catalog.text[] NOT NULL,
    state pg_catalog.text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'undone')),
    started_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
    finished_at pg_catalog.timestamptz,
    software_version pg_catalog.text NOT NULL,
    who pg_catalog.text NOT NULL DEFAULT pg_catalog.format('%s@%s', SESSION_USER, coalesce(pg_catalog.host(pg_catalog.inet_client_addr()), 'socket'))
)
