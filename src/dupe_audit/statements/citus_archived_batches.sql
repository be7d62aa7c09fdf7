-- Purpose: count the archived rows of each batch, where a block could have committed since the batches were last counted.
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT dupe_audit_batch AS number, pg_catalog.count(*) AS archived FROM {archive}
WHERE dupe_audit_id >= {first_id} GROUP BY dupe_audit_batch
