-- Purpose: count the recorded children of a range that are not back, and those that cannot go back.
-- Lock: none on application objects.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS rows, pg_catalog.count(dupe_audit_problem) AS refused
FROM {record} WHERE dupe_audit_returned_at IS NULL AND dupe_audit_id BETWEEN {low} AND {high}
