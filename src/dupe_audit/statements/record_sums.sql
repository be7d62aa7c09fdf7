-- Purpose: count the children in a record, and those that are back.
-- Lock: none on application objects.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS moved, pg_catalog.count(dupe_audit_returned_at) AS returned FROM {record}
