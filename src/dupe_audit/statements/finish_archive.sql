-- Purpose: add the archive's primary key, and the columns that record batches and restores.
-- Lock: ACCESS EXCLUSIVE on the archive, until the transaction ends; no other session uses it yet.
-- Again: no; once after create_archive, in the same transaction.
ALTER TABLE {archive}
    ADD COLUMN dupe_audit_batch bigint NOT NULL,
    ADD COLUMN dupe_audit_archived_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    ADD COLUMN dupe_audit_restored_at pg_catalog.timestamptz,
    ADD COLUMN dupe_audit_problem pg_catalog.text,
    ADD COLUMN dupe_audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
