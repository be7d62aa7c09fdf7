-- Purpose: count the archived rows that are back, that cannot go back, and the others.
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FILTER (WHERE dupe_audit_restored_at IS NOT NULL) AS restored,
       pg_catalog.count(*) FILTER (WHERE dupe_audit_restored_at IS NULL AND dupe_audit_problem IS NOT NULL) AS refused,
       pg_catalog.count(*) FILTER (WHERE dupe_audit_restored_at IS NULL AND dupe_audit_problem IS NULL) AS remaining
FROM {archive}
