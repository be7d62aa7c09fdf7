-- Purpose: read the storage parameters of the index that a run has adopted, as CREATE INDEX takes them; empty if it has adopted none.
-- Lock: ACCESS SHARE on dupe_audit.run, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce((
    SELECT pg_catalog.substring(r.adopted_index, '( WITH [(](?:(?:, )?(?:fillfactor|deduplicate_items)=''?\w+''?)+[)])')
    FROM dupe_audit.run r WHERE r.id = {run}
), '') AS options
