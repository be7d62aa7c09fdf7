-- Purpose: stop before the version is stamped, unless the newest run of a key is restored or purged, or there is none.
-- Lock: ACCESS SHARE on the ledger, until the transaction ends.
-- Again: yes, it only reads.
DO $guard$
DECLARE
    v_run bigint;
BEGIN
    IF pg_catalog.to_regclass('dupe_audit.run') IS NULL THEN
        RETURN;
    END IF;
    SELECT r.id INTO v_run FROM dupe_audit.run r
    WHERE r.relid = ({relid}) AND r.key_columns OPERATOR(pg_catalog.@>) {key} AND r.key_columns OPERATOR(pg_catalog.<@) {key}
      AND r.state <> 'restored' AND r.purged_at IS NULL
      AND NOT EXISTS (SELECT FROM dupe_audit.run newer WHERE newer.relid = r.relid AND newer.key_columns OPERATOR(pg_catalog.@>) {key}
                      AND newer.key_columns OPERATOR(pg_catalog.<@) {key} AND newer.id > r.id);
    IF v_run IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: run % is not restored; the version was not stamped', v_run;
    END IF;
END
$guard$
