-- Purpose: list, per batch, the recorded children that were not pointed back.
-- Lock: ACCESS SHARE on the record, until the transaction ends.
-- Again: yes, it only reads.
SELECT dupe_audit_batch AS batch, pg_catalog.min(dupe_audit_id) AS low, pg_catalog.max(dupe_audit_id) AS high, pg_catalog.count(*) AS size
FROM {record} WHERE dupe_audit_returned_at IS NULL
GROUP BY dupe_audit_batch
