-- Purpose: count the children in a record, and those of them that were pointed back.
-- Lock: ACCESS SHARE on the record, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS moved, pg_catalog.count(dupe_audit_returned_at) AS returned FROM {record}
