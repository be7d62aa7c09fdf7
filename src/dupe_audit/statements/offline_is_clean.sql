-- Purpose: ask the ledger whether the duplicates of a key are archived.
-- Lock: ACCESS SHARE on the ledger, until the transaction ends.
-- Again: yes, it only reads.
SELECT coalesce((
    SELECT r.state IN ('clean', 'enforced') FROM dupe_audit.run r
    WHERE ({run_relation}) = ({relid}) AND {chosen} ORDER BY {order} LIMIT 1
), false)
