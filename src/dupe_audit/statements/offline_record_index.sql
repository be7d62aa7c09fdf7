-- Purpose: record what the index of a run compares before it is dropped, if the ledger has such a run.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends; ACCESS SHARE on the table.
-- Again: yes.
DO $dropped$
DECLARE
    v_relid pg_catalog.oid := ({relid});
BEGIN
    PERFORM pg_temp.dupe_audit_trust(v_relid);
    IF pg_catalog.to_regclass('dupe_audit.run') IS NOT NULL THEN
        {record_index};
    END IF;
END
$dropped$
