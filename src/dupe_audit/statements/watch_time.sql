-- Purpose: return the server's time, at which a view is taken.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.clock_timestamp()::pg_catalog.text
