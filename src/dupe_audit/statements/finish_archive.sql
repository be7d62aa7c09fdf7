-- Purpose: give the archive its own primary key, and its record of restores.
-- Lock: ACCESS EXCLUSIVE on the archive, which nobody else uses yet.
-- Again: no; in the transaction of create_archive.
ALTER TABLE {archive}
    ADD COLUMN dupe_audit_batch bigint NOT NULL,
    ADD COLUMN dupe_audit_archived_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    ADD COLUMN dupe_audit_restored_at timestamptz,
    ADD COLUMN dupe_audit_problem text,
    ADD COLUMN dupe_audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
