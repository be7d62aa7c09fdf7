-- Purpose: cancel the statement that a backend is executing.
-- Lock: none.
-- Again: yes.
SELECT pg_catalog.pg_cancel_backend({pid})
