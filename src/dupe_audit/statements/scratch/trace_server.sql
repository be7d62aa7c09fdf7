-- Purpose: identify a session, and the server and database that it is connected to.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
       pg_catalog.current_database()::pg_catalog.text, extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text
