-- Purpose: add the primary key of a record of moved children, and the columns that record batches and returns.
-- Lock: ACCESS EXCLUSIVE on the record, until the transaction ends; no other session uses it yet.
-- Again: no; once after create_record, in the same transaction.
ALTER TABLE {record}
    ADD COLUMN dupe_audit_batch bigint NOT NULL,
    ADD COLUMN dupe_audit_returned_at pg_catalog.timestamptz,
    ADD COLUMN dupe_audit_problem pg_catalog.text,
    ADD COLUMN dupe_audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
