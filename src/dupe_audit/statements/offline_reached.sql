-- Purpose: stop before the version is stamped if anything before this directive has failed, and psql has continued.
-- Lock: none.
-- Again: yes, it only reads.
DO $reached$
BEGIN
    -- Set in the transaction that ends before the directive, so an error in that one has taken it back.
    IF pg_catalog.current_setting('dupe_audit.reached', true) IS DISTINCT FROM {mark} THEN
        RAISE EXCEPTION 'dupe-audit: a statement before % failed, and psql continued; the version was not stamped. Remove the cause, then execute the script again with psql -v ON_ERROR_STOP=1.', {subject};
    END IF;
END
$reached$
