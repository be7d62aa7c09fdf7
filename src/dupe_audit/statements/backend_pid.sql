-- Purpose: return the pid of the backend that answers.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.pg_backend_pid()
