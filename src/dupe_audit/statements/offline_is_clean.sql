-- Purpose: ask the ledger whether the duplicates of a key are archived.
-- Lock: ACCESS SHARE on the ledger, until the transaction ends.
-- Again: yes, it only reads.
SELECT EXISTS (
    SELECT FROM dupe_audit.run r
    WHERE ({run_relation}) = ({relid}) AND {of_key} AND r.state IN ('clean', 'enforced')
)
