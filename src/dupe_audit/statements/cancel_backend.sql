-- Purpose: cancel the statement that a backend executes.
-- Lock: none.
-- Again: yes.
SELECT pg_catalog.pg_cancel_backend({pid})
