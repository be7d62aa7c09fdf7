-- Purpose: give a record of moved children its own primary key, and what became of each.
-- Lock: ACCESS EXCLUSIVE on the record, which nobody else uses yet.
-- Again: no; in the transaction of create_record.
ALTER TABLE {record}
    ADD COLUMN dupe_audit_batch bigint NOT NULL,
    ADD COLUMN dupe_audit_returned_at timestamptz,
    ADD COLUMN dupe_audit_problem text,
    ADD COLUMN dupe_audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
