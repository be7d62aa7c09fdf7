-- Purpose: switch off, until the transaction ends, the timeouts that would end it; keep what they were. PostgreSQL 16 and older have no transaction_timeout.
-- Lock: none.
-- Again: no, the kept values would be lost.
DO $timeouts$
BEGIN
    PERFORM pg_catalog.set_config(pg_catalog.concat('dupe_audit.', s.name), s.setting, false), pg_catalog.set_config(s.name, '0', true)
    FROM pg_catalog.pg_settings s
    WHERE s.name OPERATOR(pg_catalog.=) ANY (ARRAY['statement_timeout', 'transaction_timeout']);
END
$timeouts$
