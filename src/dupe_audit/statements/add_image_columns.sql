-- Purpose: prepare an archive for before-images of rows that stay in the table: what became of a row, its place in the staged list, and its number among the duplicates of its survivor.
-- Lock: ACCESS EXCLUSIVE on the archive, until the transaction ends.
-- Again: yes.
ALTER TABLE {archive}
    ADD COLUMN IF NOT EXISTS dupe_audit_kind pg_catalog.text NOT NULL DEFAULT 'removed'
        CHECK (dupe_audit_kind IN ('removed', 'amended', 'merged')),
    ADD COLUMN IF NOT EXISTS dupe_audit_n bigint,
    ADD COLUMN IF NOT EXISTS dupe_audit_number bigint
