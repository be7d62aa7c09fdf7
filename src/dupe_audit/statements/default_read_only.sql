-- Purpose: report whether new transactions of this session are read-only by default.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool
