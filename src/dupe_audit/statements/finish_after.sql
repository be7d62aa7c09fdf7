-- Purpose: add the columns that link a row of the archive to the row as the run left it.
-- Lock: ACCESS EXCLUSIVE on the new table, until the transaction ends; no other session uses it yet.
-- Again: no; once after create_after, in the same transaction.
ALTER TABLE {after}
    ADD COLUMN dupe_audit_batch bigint NOT NULL,
    ADD COLUMN dupe_audit_n bigint NOT NULL,
    ADD PRIMARY KEY (dupe_audit_batch, dupe_audit_n)
