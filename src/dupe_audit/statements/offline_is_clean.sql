-- Purpose: ask the ledger whether the duplicates of a key are archived.
-- Lock: ACCESS SHARE on the ledger, until the transaction ends.
-- Again: yes, it only reads.
SELECT EXISTS (
    SELECT FROM dupe_audit.run r
    WHERE r.relid = ({relid}) AND r.key_columns @> {key} AND r.key_columns <@ {key} AND r.state IN ('clean', 'enforced')
)
