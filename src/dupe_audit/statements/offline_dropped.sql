-- Purpose: record in the ledger, if there is one, that the constraint no longer exists.
-- Lock: ROW EXCLUSIVE on the ledger, until the transaction ends.
-- Again: yes.
DO $dropped$
BEGIN
    PERFORM pg_temp.dupe_audit_trust(({relid}));
    IF pg_catalog.to_regclass('dupe_audit.run') IS NOT NULL THEN
        UPDATE dupe_audit.run r SET state = 'dropped', building = false, built = false
        WHERE r.state IN ('cleaning', 'clean', 'enforced')
          AND r.id = (SELECT r.id FROM dupe_audit.run r WHERE ({run_relation}) = ({relid}) AND r.constraint_name = {name} ORDER BY {order} LIMIT 1);
    END IF;
END
$dropped$
