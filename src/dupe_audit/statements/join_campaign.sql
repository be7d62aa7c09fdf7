-- Purpose: enter in the runs of a revision that they belong to its campaign.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes; only runs without a campaign change.
UPDATE dupe_audit.run r
SET campaign = {campaign}
WHERE r.campaign IS NULL AND r.revision IS NOT DISTINCT FROM {revision}::pg_catalog.text AND r.state <> 'restored'
  AND r.schema_name = ANY ({schemas}) AND r.table_name = ANY ({tables})
