-- Purpose: open a campaign in the ledger, and return its id.
-- Lock: ROW EXCLUSIVE on dupe_audit.campaign, until the transaction ends.
-- Again: no; callers look for an open one first (campaigns).
INSERT INTO dupe_audit.campaign (revision, query, places, software_version)
VALUES ({revision}, {query}, {schemas}, {version})
RETURNING id
