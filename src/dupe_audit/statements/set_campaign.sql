-- Purpose: record the schemas and the state of a campaign.
-- Lock: ROW EXCLUSIVE on dupe_audit.campaign, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.campaign
SET places = {schemas}, query = {query}, state = {state},
    finished_at = CASE WHEN {state} = 'open' THEN NULL ELSE pg_catalog.clock_timestamp() END
WHERE id = {campaign}
