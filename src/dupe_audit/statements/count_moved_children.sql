-- Purpose: count the recorded children of a range that were not pointed back, and those of them that cannot be.
-- Lock: ACCESS SHARE on the record, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS rows, pg_catalog.count(dupe_audit_problem) AS refused
FROM {record} WHERE dupe_audit_returned_at IS NULL AND dupe_audit_id BETWEEN {low} AND {high}
