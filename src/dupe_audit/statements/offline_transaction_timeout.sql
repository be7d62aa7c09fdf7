-- Purpose: set transaction_timeout, or reset it if the value is NULL; PostgreSQL 16 and older have no such setting.
-- Lock: none.
-- Again: yes.
DO $timeout$
BEGIN
    PERFORM pg_catalog.set_config(s.name, coalesce({value}, s.reset_val), false)
    FROM pg_catalog.pg_settings s
    WHERE s.name OPERATOR(pg_catalog.=) 'transaction_timeout';
END
$timeout$
