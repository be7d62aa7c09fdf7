-- Purpose: return whether the staged list has an extra that the run has never amended, which means that a writer added it.
-- Lock: ACCESS SHARE on the staged list and the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT EXISTS (
    SELECT FROM {stage} s
    WHERE NOT EXISTS (SELECT FROM {archive} e WHERE {e_is_extra} AND e.dupe_audit_kind = 'amended' AND e.dupe_audit_restored_at IS NULL)
)
