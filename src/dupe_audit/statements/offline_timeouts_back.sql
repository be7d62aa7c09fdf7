-- Purpose: restore, until the transaction ends, the timeouts that were in force before the script's own statements (offline_timeouts).
-- Lock: none.
-- Again: yes.
DO $timeouts$
BEGIN
    PERFORM pg_catalog.set_config(s.name, pg_catalog.current_setting(pg_catalog.concat('dupe_audit.', s.name)), true)
    FROM pg_catalog.pg_settings s
    WHERE s.name OPERATOR(pg_catalog.=) ANY (ARRAY['statement_timeout', 'transaction_timeout']);
END
$timeouts$
