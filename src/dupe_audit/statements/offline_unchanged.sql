-- Purpose: define the function that stops the script before it undoes a run that changed rows which stay in the table: it has no part for them.
-- Lock: ACCESS SHARE on the ledger, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_images(v_relid pg_catalog.oid, v_run bigint) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $images$
BEGIN
    IF (SELECT r.amended + r.merged > 0 FROM dupe_audit.run r WHERE r.id = v_run) THEN
        RAISE EXCEPTION 'dupe-audit: run % changed rows of % that stay in the table, but upgrade() of this revision has neither set_ nor merge, so this script does not change them back. This directive changed nothing. Downgrade online, without --sql.',
            v_run, v_relid::pg_catalog.regclass;
    END IF;
    RETURN '{}';
END
$images$
