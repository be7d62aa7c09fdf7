-- Purpose: let the archive of a tree say from which leaf each row came.
-- Lock: ACCESS EXCLUSIVE on the archive, for an instant; the application does not use it.
-- Again: yes.
ALTER TABLE {archive} ADD COLUMN IF NOT EXISTS dupe_audit_leaf pg_catalog.text
