-- Purpose: add the columns of an archive, and a primary key with the distribution column, as a distributed table needs it.
-- Lock: ACCESS EXCLUSIVE on the archive, until the transaction ends; no other session uses it yet.
-- Again: no; once after create_archive, in the same transaction.
-- The number of a row is not an identity: blocks on shards fill it, from ranges that the coordinator gives them.
ALTER TABLE {archive}
    ADD COLUMN dupe_audit_batch bigint NOT NULL,
    ADD COLUMN dupe_audit_archived_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    ADD COLUMN dupe_audit_restored_at pg_catalog.timestamptz,
    ADD COLUMN dupe_audit_problem pg_catalog.text,
    ADD COLUMN dupe_audit_id bigint NOT NULL,
    ADD PRIMARY KEY (dupe_audit_id, {distribution_column})
