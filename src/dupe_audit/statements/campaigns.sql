-- Purpose: read the campaigns that meet a condition, oldest first.
-- Lock: ACCESS SHARE on dupe_audit.campaign, until the transaction ends.
-- Again: yes, it only reads.
SELECT c.id, c.revision, c.query, c.places AS schemas, c.state, c.started_at::pg_catalog.text AS started_at,
       c.finished_at::pg_catalog.text AS finished_at
FROM dupe_audit.campaign c
WHERE {condition}
ORDER BY c.id
